"""Every name and kind of file in a folder becomes an image, a rejection with a reason, or a count."""

import errno
import os
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.errors import PermanentError, TemporaryError, UserError
from worker.storage.folder import read_all
from worker.storage.image_store import find_images, read_image
from worker.storage.size_limit import MAX_FILE_BYTES


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


def put(path, data=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or path.name.encode("utf-8", "surrogateescape"))
    return path


def listed(root, wanted=None):
    """Image name to location."""
    return {name: image.location for name, image in find_images(None, str(root), wanted).images.items()}


def reason_of(location):
    with pytest.raises(PermanentError) as caught:
        read_image(str(location))
    return caught.value.reason


def test_without_a_csv_every_file_named_like_an_image_is_found_under_its_path(root):
    """In every subfolder and any case; hidden files and folders and other files are left out and counted."""
    names = [
        "a.png",
        "b.JPEG",
        "ward 1/c.TIF",
        "ward 1/x/d.dcm",
        "ward 1/x/a.png",
        "e.bmp",
        "f.dicom",
        "g.jpg",
        "h.tiff",
    ]
    for name in [*names, "notes.txt", ".hidden.png", ".cache/z.png", "ward 1/no_suffix"]:
        put(root / name)
    listing = find_images(None, str(root))
    assert set(listing.images) == set(names)
    assert all(image.location == str(root / name) for name, image in listing.images.items())
    assert listing.left_out == {"text": 2, "hidden": 1}


def test_wanted_names_are_found_by_path_or_else_by_base_name_whatever_their_suffix(root):
    """All else is only counted, so that memory grows with the wanted names."""
    for name in ["p1/s1/view1.png", "p2/s1/view1.png", "deep/er/b", "c.txt", "other.png", "more/other.dcm"]:
        put(root / name)
    wanted = {"p1/s1/view1.png", "p2/s1/view1.png", "b", "c.txt", "absent.png"}
    listing = find_images(None, str(root), wanted)
    assert {name: image.location for name, image in listing.images.items()} == {
        "p1/s1/view1.png": str(root / "p1/s1/view1.png"),
        "p2/s1/view1.png": str(root / "p2/s1/view1.png"),
        "b": str(root / "deep/er/b"),
        "c.txt": str(root / "c.txt"),
    }
    assert listing.left_out == {"other_name": 2}


def test_two_different_images_of_one_wanted_name_are_refused_with_both_places(root):
    """None is chosen silently. A path with its folder, or the same bytes twice, is unambiguous."""
    one, other = put(root / "p1" / "a.png", b"1"), put(root / "p2" / "a.png", b"2")
    with pytest.raises(UserError) as caught:
        find_images(None, str(root), {"a.png"})
    assert all(word in str(caught.value) for word in ("'a.png'", str(one), str(other)))
    assert "\n" not in str(caught.value)
    assert listed(root, {"p2/a.png"}) == {"p2/a.png": str(other)}
    other.write_bytes(b"1")
    assert listed(root, {"a.png"}) == {"a.png": str(one)}


def test_an_image_in_the_folder_itself_is_refused_beside_a_different_one_of_its_name_below(root):
    """Its bare name is that of both; the one in the folder is not preferred, unless both have the same bytes."""
    below, top = put(root / "p1" / "a.png", b"1"), put(root / "a.png", b"2")
    with pytest.raises(UserError) as caught:
        find_images(None, str(root), {"a.png"})
    assert all(word in str(caught.value) for word in ("'a.png'", str(below), str(top), "rename one of them"))
    assert listed(root, {"a.png", "p1/a.png"}) == {"a.png": str(top), "p1/a.png": str(below)}
    assert set(listed(root)) == {"a.png", "p1/a.png"}
    below.write_bytes(b"2")
    assert listed(root, {"a.png"}) == {"a.png": str(top)}


def test_copies_beside_the_csv_are_one_image_and_others_are_refused(tmp_path):
    """Kaggle's sample unpacks the same files twice."""
    csv = put(tmp_path / "sample_labels.csv")
    first = put(tmp_path / "images" / "a.png", b"same")
    second = put(tmp_path / "sample" / "images" / "a.png", b"same")
    assert find_images(csv, None, {"a.png"}).images["a.png"].location == str(first)
    second.write_bytes(b"SAME")
    with pytest.raises(UserError, match=r"two different images are named 'a\.png'"):
        find_images(csv, None, {"a.png"})


def test_a_files_version_is_its_size_and_time_of_change(root):
    """The file is not opened, so that this works without permission to read it."""
    path = put(root / "a.png", b"12345")
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    path.chmod(0)
    assert find_images(None, str(root)).images["a.png"].version == "stat:5-1700000000123456789"


@pytest.mark.parametrize(
    "name",
    ["a b.png", "it's.png", '"q".png', "new\nline.png", "é日本.png", "a+b%20?#&.png", "~.png", "\\.png", " .png"],
)
def test_a_name_of_any_letters_is_found_and_read(root, name):
    """Spaces, quotes, newlines and Unicode are ordinary."""
    put(root / "ward" / name)
    (location,) = listed(root, {name}).values()
    assert read_image(location).data == name.encode()
    assert set(listed(root)) == {f"ward/{name}"}


def test_a_name_that_is_not_unicode_is_left_out_and_counted(root):
    """SQL cannot store it."""
    put(root / os.fsdecode(b"\xff\xfe.png"))
    put(root / os.fsdecode(b"caf\xe9") / "a.png")
    listing = find_images(None, str(root))
    assert (listing.images, listing.left_out) == ({}, {"invalid_name": 2})


def test_a_root_that_is_not_unicode_is_refused(tmp_path):
    """SQL cannot store any location in it."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    with pytest.raises(UserError, match="not valid UTF-8"):
        find_images(None, str(folder))


def test_a_link_within_the_folder_is_the_file_that_it_leads_to(root):
    """The link is resolved when it is listed, so changing it later has no effect."""
    target = put(root / "store" / "x.bin", b"bytes")
    (root / "a.png").symlink_to("store/x.bin")
    assert listed(root) == {"a.png": str(target)}
    (root / "a.png").unlink()
    (root / "a.png").symlink_to("/etc/passwd")
    assert read_image(str(target)).data == b"bytes"


def test_a_link_out_of_the_folder_is_never_read(root, tmp_path):
    """It is found, and rejected as unreadable with a sentence; so are dangling links and loops."""
    secret = put(tmp_path / "secret.png")
    (root / "out.png").symlink_to(secret)
    (root / "up.png").symlink_to("../secret.png")
    (root / "dangling.png").symlink_to("nowhere.png")
    (root / "loop.png").symlink_to("loop.png")
    found = find_images(None, str(root)).images
    assert set(found) == {"out.png", "up.png", "dangling.png", "loop.png"}
    for image in found.values():
        assert image.version is None
        with pytest.raises(PermanentError, match="link") as caught:
            read_image(image.location)
        assert caught.value.reason == "unreadable"


def test_a_file_that_became_a_link_after_the_listing_is_not_read(root, tmp_path):
    """The worker does not follow links when it opens a file."""
    path = put(root / "a.png")
    (location,) = listed(root).values()
    path.unlink()
    path.symlink_to(put(tmp_path / "secret.png"))
    assert reason_of(location) == "unreadable"


def test_links_to_folders_are_not_entered_but_the_root_may_be_one(root, tmp_path):
    """Such a link can lead out of the folder, or in a circle."""
    put(root / "ward" / "a.png")
    put(tmp_path / "elsewhere" / "b.png")
    (root / "round").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "alias").symlink_to(root)
    listing = find_images(None, str(tmp_path / "alias"))
    assert {name: image.location for name, image in listing.images.items()} == {
        "ward/a.png": str(tmp_path / "alias" / "ward" / "a.png")
    }
    assert listing.left_out == {"symlinked_folder": 2}


def test_other_things_named_like_an_image_are_rejected_without_waiting(root):
    """A folder, a pipe without a writer, a socket and a device are unreadable."""
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.png"))
    found = listed(root)
    assert set(found) == {"folder.png", "pipe.png", "socket.png"}
    assert {reason_of(location) for location in [*found.values(), "/dev/zero"]} == {"unreadable"}


@contextmanager
def as_nobody():
    """Act as a user without rights, because root may read everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_file_without_permission_is_rejected_and_a_folder_without_is_counted():
    """One forbidden corner does not end the listing."""
    # Not pytest's own folder, which is closed to nobody.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        put(root / "a.png").chmod(0)
        put(root / "closed" / "b.png")
        (root / "closed").chmod(0)
        root.chmod(0o755)
        with as_nobody():
            listing = find_images(None, str(root))
            assert (set(listing.images), listing.left_out) == ({"a.png"}, {"unreadable_folder": 1})
            assert reason_of(root / "a.png") == "unreadable"
        (root / "closed").chmod(0o700)


def test_a_folder_too_deep_to_be_listed_is_counted(root):
    """The files beside it are found."""
    put(root / "a.png")
    here = os.open(root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=here)
        deeper = os.open("x" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    listing = find_images(None, str(root))
    assert (set(listing.images), listing.left_out) == ({"a.png"}, {"unreadable_folder": 1})


@pytest.mark.parametrize("location", ["/x" * 3000, "/" + "x" * 300, "/a\0b.png", "/\ud800.png", ""])
def test_a_location_that_no_file_can_have_is_rejected(location):
    """Too long, a NUL, not encodable, nothing at all."""
    assert reason_of(location) in ("unreadable", "missing")


def test_a_disk_that_does_not_answer_is_asked_again_later_and_a_broken_one_in_the_next_run(monkeypatch, root):
    """A server that is down comes back; a bad sector would keep its run open forever."""
    cause = errno.ESTALE

    def fail(*_):
        raise OSError(cause, os.strerror(cause))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(TemporaryError, match="did not answer"):
        read_image(str(root / "a.png"))
    cause = errno.EIO
    assert reason_of(root / "a.png") == "unreadable"


@pytest.mark.parametrize("told", [0, 1, 9_999, 10_000, 10_001, 5_000_000])
def test_a_file_is_read_whole_whatever_size_it_was_said_to_have(root, told):
    """Also if it grows while it is read, or if its file system gives no size."""
    data = os.urandom(10_000)
    descriptor = os.open(put(root / "a.png", data), os.O_RDONLY)
    try:
        assert read_all(descriptor, told) == data
    finally:
        os.close(descriptor)


def test_a_file_that_comes_in_small_pieces_is_read_whole(root, monkeypatch):
    """Network file systems may return such pieces."""
    data, read = os.urandom(10_000), os.read
    place = put(root / "a.png", data)
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 999)))
    assert read_image(str(place)).data == data


def test_a_file_larger_than_any_image_is_rejected_unread(root, monkeypatch):
    """A disk image under an image's name would take all the memory of the machine."""
    huge = put(root / "a.png")
    with huge.open("r+b") as file:
        # It takes no room on the disk.
        file.truncate(MAX_FILE_BYTES + 1)
    monkeypatch.setattr(os, "read", lambda *_: pytest.fail("it was read"))
    assert reason_of(huge) == "too_large"


def test_no_file_stays_open(root):
    """Whether a file is read or refused; a worker runs for months."""
    place, folder = put(root / "a.png"), root / "b.png"
    folder.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        read_image(str(place))
        reason_of(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
