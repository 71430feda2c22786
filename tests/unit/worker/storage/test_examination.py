"""Folders of DICOM: content decides what is an image, and the header what it is called."""

import os

import numpy as np
import pytest
from pydicom.uid import BasicTextSRStorage, MediaStorageDirectoryStorage

import worker.storage.examination
from db.errors import PermanentError, TemporaryError
from trainer.phantoms.dicom_file import dicom_file
from worker.storage.image_store import find_images
from worker.storage.range_reader import RangeReader

FILM = np.zeros((8, 8), np.uint16)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def uid(number):
    return f"1.2.826.0.1.{number}"


def film(number, **header):
    return dicom_file(FILM, SOPInstanceUID=uid(number), PatientID=f"P{number}", **header)


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_films_are_found_by_content_and_named_by_their_uid(tmp_path):
    """They are called IM0001 in every folder; others keep their path, and what is no image is counted by kind."""
    for number in range(40):
        put(tmp_path / f"study{number}" / "IM0001", film(number))
    put(tmp_path / "a" / "scan", PNG)
    put(tmp_path / "b.jfif", b"\xff\xd8\xff\xe0")
    put(tmp_path / "film.png", film(40))
    put(tmp_path / "report", dicom_file(FILM, SOPClassUID=BasicTextSRStorage))
    put(tmp_path / "DICOMDIR", dicom_file(FILM, SOPClassUID=MediaStorageDirectoryStorage))
    for name, data in (("r.pdf", b"%PDF-1.4"), ("notes", b"text"), ("none", b""), ("x.bin", bytes(99)), (".DS", b"x")):
        put(tmp_path / name, data)
    listing = find_images(None, str(tmp_path))
    assert set(listing.images) == {*map(uid, range(41)), "a/scan", "b.jfif"}
    image = listing.images[uid(7)]
    assert (image.location, image.header.patient_id) == (str(tmp_path / "study7" / "IM0001"), "P7")
    kinds = ("dicom_without_image", "dicomdir", "pdf", "text", "empty", "other", "hidden")
    assert listing.left_out == dict.fromkeys(kinds, 1)


@pytest.mark.parametrize("name", ["IM0001", "a.dcm"])
def test_a_film_whose_header_is_damaged_or_has_no_uid_is_found_under_its_path(tmp_path, name):
    """The worker says what is wrong with it, so nothing is lost."""
    whole = film(1)
    for data in (whole[: whole.rindex(b"1.2.826.0.1.1") + 3], whole[:140], dicom_file(FILM, SOPInstanceUID="x")):
        put(tmp_path / name, data)
        assert set(find_images(None, str(tmp_path)).images) == {name}


def test_bytes_that_only_begin_like_dicom_without_a_preamble_are_no_film(tmp_path):
    """Four bytes are little proof."""
    put(tmp_path / "data", b"\x08\0\x05\0\x02\0\0\0" + b"\xff" * 300)
    put(tmp_path / "short", b"\x08\0\x18\0UI\x40\x001.2.3")
    assert find_images(None, str(tmp_path)).left_out == {"other": 2}


def test_one_film_in_two_places_is_one_image_and_other_bytes_are_a_conflict(tmp_path):
    """Which of two films has the UID is not guessed."""
    one, copy = put(tmp_path / "a" / "IM1", film(1)), put(tmp_path / "b" / "IM1", film(1))
    put(tmp_path / "c", film(2))
    listing = find_images(None, str(tmp_path))
    assert (listing.images[uid(1)].location, listing.conflicts) == (str(one), {})
    copy.write_bytes(film(1, PatientSex="F"))
    listing = find_images(None, str(tmp_path))
    assert (set(listing.images), listing.conflicts) == ({uid(1), uid(2)}, {uid(1): (str(one), str(copy))})


def test_a_csv_names_films_by_path_by_base_name_without_suffix_or_by_uid(tmp_path):
    """Each row gets the UID as its image name; files that no row means are not images."""
    for number, name in enumerate(["s1/IM1", "s2/two.dcm", "s3/IM1", "s3/four"]):
        put(tmp_path / name, film(number))
    put(tmp_path / "s5" / "five.png", PNG)
    listing = find_images(None, str(tmp_path), {"s1/IM1", "two", uid(2), "five.png"})
    assert set(listing.images) == {uid(0), uid(1), uid(2), "five.png"}
    assert listing.image_names == {"s1/IM1": uid(0), "two": uid(1)}
    assert listing.left_out == {"other_name": 1}


def test_a_file_that_is_only_named_like_a_uid_gives_way_to_the_film_with_that_uid(tmp_path):
    """The header says which film it is."""
    put(tmp_path / f"{uid(1)}.dcm", film(2))
    right = put(tmp_path / "IM1", film(1))
    listing = find_images(None, str(tmp_path), {uid(1)})
    assert {name: image.location for name, image in listing.images.items()} == {uid(1): str(right)}
    assert listing.image_names == {}


def test_files_named_by_a_csv_like_a_png_are_not_opened(tmp_path, monkeypatch):
    """A CSV of a million PNGs costs no read."""
    put(tmp_path / "a.png", PNG)
    monkeypatch.setattr(worker.storage.examination, "open_ranges", None)
    assert set(find_images(None, str(tmp_path), {"a.png"}).images) == {"a.png"}


def test_the_header_of_a_known_film_is_not_read_again_until_the_file_changes(tmp_path, monkeypatch):
    """A nightly over 300,000 known films reads none."""
    path = put(tmp_path / "IM1", film(1))
    known = {image.seen_as: name for name, image in find_images(None, str(tmp_path)).images.items()}
    opened = worker.storage.examination.open_ranges
    monkeypatch.setattr(worker.storage.examination, "open_ranges", None)
    (image,) = find_images(None, str(tmp_path), known=known).images.values()
    assert (image.instance, image.header.patient_id) == (uid(1), None)
    monkeypatch.setattr(worker.storage.examination, "open_ranges", opened)
    path.write_bytes(film(2))
    os.utime(path, ns=(1, 1))
    assert set(find_images(None, str(tmp_path), known=known).images) == {uid(2)}


def test_a_file_that_cannot_be_read_is_an_image_only_if_it_is_named_like_one(tmp_path):
    """A pipe without a writer is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("/etc/hostname")
    (tmp_path / "out.png").symlink_to("/etc/hostname")
    listing = find_images(None, str(tmp_path))
    assert (set(listing.images), listing.left_out) == ({"out.png"}, {"unreadable": 2})


@pytest.mark.parametrize("error", [PermanentError("unreadable", ""), TemporaryError("")])
def test_a_film_that_cannot_be_read_is_not_named_by_its_path(tmp_path, monkeypatch, error):
    """A worker that can read it would score it under another name than that of its UID, and without its patient."""

    def refuse(*_):
        raise error

    put(tmp_path / "a.dcm", film(1))
    put(tmp_path / "b.png", PNG)
    monkeypatch.setattr(worker.storage.examination, "open_ranges", refuse)
    for wanted in (None, {"a.dcm", "b.png"}):
        listing = find_images(None, str(tmp_path), wanted)
        assert (set(listing.images), listing.left_out) == ({"b.png"}, {"unreadable": 1})


def test_the_header_of_a_film_that_was_replaced_after_it_was_listed_is_not_taken(tmp_path, monkeypatch):
    """The version is that of the film before: if that comes back, its scan would be known by the wrong UID."""
    path = put(tmp_path / "a.dcm", film(1))
    opened = worker.storage.examination.open_ranges

    def replace_and_open(*args):
        os.utime(put(path, film(2)), ns=(1, 1))
        return opened(*args)

    monkeypatch.setattr(worker.storage.examination, "open_ranges", replace_and_open)
    listing = find_images(None, str(tmp_path))
    assert (listing.images, listing.left_out) == ({}, {"unreadable": 1})


@pytest.mark.parametrize("name", ["IM1", "a.dcm"])
def test_a_large_film_that_begins_with_a_stray_byte_is_named_by_its_uid(tmp_path, name):
    """Its pixels are not read, so they do not count as its header."""
    large = dicom_file(np.zeros((3000, 3000), np.uint16), SOPInstanceUID=uid(1))
    put(tmp_path / name, b"\n" + large[132:])
    assert set(find_images(None, str(tmp_path)).images) == {uid(1)}


def test_a_header_that_never_ends_is_given_up():
    """A hostile file has millions of elements."""
    reader = RangeReader(lambda _, count: bytes(count), 10**9, 2**20)
    with pytest.raises(OSError, match="too long"):
        while reader.read(8):
            pass


def test_parts_of_a_file_are_read_as_from_a_file():
    """Backwards too, and not beyond its end."""
    data = bytes(range(250))
    reader = RangeReader(lambda start, count: data[start : start + count], len(data), 16)
    assert reader.read(20) == data[:20]
    assert reader.seek(5) == 5
    assert reader.read(4) == data[5:9]
    assert (reader.seek(-3, 2), reader.read(), reader.tell()) == (247, data[247:], 250)
    assert (reader.seek(400), reader.read(8)) == (400, b"")
    reader.seek(0)
    assert reader.read() == data
