import shutil
from functools import partial

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from db.ledger.scans import FoundImage
from tests.support.world import radiograph
from trainer.data.dataset import load_examples
from trainer.phantoms.dicom_file import dicom_file
from worker.images.preprocessing import Preprocessing
from worker.storage.image_store import find_images

RULE = Preprocessing(height=32, width=32)


@pytest.fixture
def rows(phantoms):
    return read_labels_csv(phantoms).rows


@pytest.fixture
def found(phantoms):
    return find_images(phantoms, None).images


def test_an_unreadable_scan_in_twenty_is_left_out_and_counted(rows, found, tmp_path):
    """One missing image does not stop a fit, and the others keep their pixels."""
    few = {name: image for name, image in found.items() if name != rows[0].image_name}
    many = tuple(rows) + tuple(rows[1:]) if len(rows) < 20 else tuple(rows)
    examples = load_examples(many, few, RULE, cache=tmp_path)
    whole = load_examples(many, found, RULE, cache=tmp_path)
    assert examples.unreadable == {"missing": 1}
    assert len(examples.rows) == len(examples.indices) == len(many) - 1
    np.testing.assert_array_equal(examples.pixels[examples.indices], whole.pixels[1:])


def test_more_than_one_unreadable_scan_in_twenty_is_refused(rows, phantoms, tmp_path):
    """A broken data set must not silently become a smaller one."""
    shutil.copytree(phantoms.parent, tmp_path / "copy")
    for row in rows[: len(rows) // 10 + 1]:
        (tmp_path / "copy" / "images" / row.image_name).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    found = find_images(tmp_path / "copy" / phantoms.name, None).images
    with pytest.raises(
        UserError, match=r"labelled scans cannot be read \(\d+ truncated\); at most 5% may be unreadable"
    ):
        load_examples(rows, found, RULE, cache=tmp_path)


def test_the_setting_that_admits_films_to_a_worker_admits_them_to_a_fit(rows, tmp_path, monkeypatch):
    """A data set of Secondary Captures, such as RSNA's, can be fitted on where its films can be scored."""
    (tmp_path / "film").write_bytes(dicom_file(radiograph(0), SOPClassUID=SecondaryCaptureImageStorage))
    found = {rows[0].image_name: FoundImage(location=str(tmp_path / "film"))}
    load = partial(load_examples, rows[:1], found, Preprocessing(height=32, width=32, rule=2), cache=tmp_path)
    with pytest.raises(UserError, match=r"1 of 1 labelled scans cannot be read \(1 secondary_capture\)"):
        load()
    monkeypatch.setenv("CXR_ADMIT", "secondary_capture")
    assert not load().unreadable
