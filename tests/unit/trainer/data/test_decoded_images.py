import shutil

import numpy as np
import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from db.ledger.scans import FoundImage
from tests.support.world import radiograph
from trainer.data.decoded_images import load_decoded_images
from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.admission import REFUSED
from worker.images.pixels import to_pixels
from worker.images.preprocessing import Preprocessing
from worker.storage.image_store import find_images, read_image

RULE = Preprocessing(height=32, width=32)


@pytest.fixture
def images(phantoms, tmp_path):
    """The location of each scan in a copy of the phantoms."""
    folder = tmp_path / "scans"
    shutil.copytree(phantoms.parent, folder)
    found = find_images(folder / phantoms.name, None).images
    return [found[row.image_name] for row in read_labels_csv(phantoms).rows]


def test_a_fit_sees_the_pixels_that_a_worker_sees(images, tmp_path):
    """One preprocessing function for both."""
    cache = load_decoded_images(tmp_path / "cache", images, RULE)
    assert cache.pixels.shape == (len(images), 32, 32, 1)
    served = to_pixels(read_image(images[3].location).data, RULE)
    np.testing.assert_array_equal(cache.pixels[3], served)


def test_an_image_is_decoded_once(images, tmp_path):
    """A second fit does not need the files."""
    first = np.array(load_decoded_images(tmp_path / "cache", images, RULE).pixels)
    shutil.rmtree(tmp_path / "scans")
    second = load_decoded_images(tmp_path / "cache", images, RULE)
    assert not second.unreadable
    np.testing.assert_array_equal(first, second.pixels)


def test_a_killed_fit_continues_where_it_stopped(images, tmp_path):
    """Images whose hash is not written are decoded; the others are not read again."""
    whole = load_decoded_images(tmp_path / "cache", images, RULE)
    expected = np.array(whole.pixels)
    with (whole.folder / "contents").open("r+b") as contents, (whole.folder / "pixels").open("r+b") as pixels:
        contents.seek(5 * 32)
        contents.write(bytes(32 * (len(images) - 5)))
        pixels.truncate(5 * 32 * 32)
    shutil.move(images[0].location, images[0].location + ".gone")
    again = load_decoded_images(tmp_path / "cache", images, RULE)
    assert not again.unreadable
    np.testing.assert_array_equal(again.pixels, expected)
    np.testing.assert_array_equal(again.hashes, whole.hashes)


def test_a_hash_is_of_the_encoded_bytes(images, tmp_path):
    """It is what a worker records of the same file; an image that cannot be read has none."""
    hashes = load_decoded_images(tmp_path / "cache", [images[3], None], RULE).hashes
    assert read_image(images[3].location).content == f"sha256:{hashes[0].tobytes().hex()}"
    assert not hashes[1].any()


def test_pixels_that_were_decoded_without_hashes_are_decoded_again(images, tmp_path):
    """An earlier version noted only that an image was decoded."""
    whole = load_decoded_images(tmp_path / "cache", images, RULE)
    (whole.folder / "contents").rename(whole.folder / "decoded")
    again = load_decoded_images(tmp_path / "cache", images, RULE)
    assert again.hashes.any(axis=1).all()
    np.testing.assert_array_equal(again.pixels, whole.pixels)


def test_a_bad_image_has_its_reason_and_is_tried_again(images, tmp_path):
    """An image that is repaired between two fits is read."""
    good = images[2].location
    shutil.move(good, tmp_path / "kept")
    assert load_decoded_images(tmp_path / "cache", [*images, None], RULE).unreadable == {
        2: "missing",
        len(images): "missing",
    }
    shutil.move(tmp_path / "kept", good)
    assert load_decoded_images(tmp_path / "cache", [*images, None], RULE).unreadable == {len(images): "missing"}


def test_an_image_that_was_replaced_after_it_was_listed_is_not_read(tmp_path):
    """Its label and patient are those of the film before."""
    path = tmp_path / "IM1"
    path.write_bytes(dicom_file(radiograph(1), SOPInstanceUID="1.2.3"))
    (listed,) = find_images(None, str(tmp_path)).images.values()
    path.write_bytes(dicom_file(radiograph(2), SOPInstanceUID="1.2.4", PatientAge="060Y"))
    rule = Preprocessing(height=32, width=32, rule=2)
    assert load_decoded_images(tmp_path / "cache", [listed], rule).unreadable == {0: "changed"}


def test_another_preprocessing_or_file_is_another_folder(images, tmp_path):
    """Pixels that were made otherwise are never used."""
    other = Preprocessing(height=32, width=32, interpolation="linear")
    folders = {
        load_decoded_images(tmp_path / "cache", some, rule).folder for some, rule in ((images, RULE), (images, other))
    }
    folders.add(load_decoded_images(tmp_path / "cache", images[::-1], RULE).folder)
    assert len(folders) == 3


def test_pixels_of_another_version_are_not_used(images, tmp_path, monkeypatch):
    """Neither of nightread nor of its decoders, or a fit after an upgrade would mix two kinds of pixels."""
    folders = {load_decoded_images(tmp_path / "cache", images, RULE).folder}
    for name in ("worker.images.pixels.PIXELS_VERSION", "cv2.__version__"):
        with monkeypatch.context() as patch:
            patch.setattr(name, 99)
            folders.add(load_decoded_images(tmp_path / "cache", images, RULE).folder)
    assert len(folders) == 3


def test_a_folder_that_cannot_be_written_is_one_sentence(images, tmp_path):
    """With the folder and the cause."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="the decoded images cannot be written"):
        load_decoded_images(tmp_path / "cache", images, RULE)


def test_a_fit_refuses_what_a_worker_refuses_unless_it_is_admitted(tmp_path):
    """A lateral film is read: which views are fitted on is a choice of the CSV."""
    rule, images = Preprocessing(height=32, width=32, rule=2), []
    for number, header in enumerate(({"PresentationIntentType": "FOR PROCESSING"}, {"ViewPosition": "LL"})):
        path = tmp_path / str(number)
        path.write_bytes(dicom_file(radiograph(number), **header))
        images.append(FoundImage(location=str(path)))
    assert load_decoded_images(tmp_path / "cache", images, rule).unreadable == {0: "for_processing"}
    admitted = load_decoded_images(tmp_path / "cache", images, rule, refused=REFUSED - {"for_processing"})
    assert admitted.unreadable == {}
    assert load_decoded_images(tmp_path / "cache", images, rule).unreadable == {0: "for_processing"}
