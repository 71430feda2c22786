import shutil

import numpy as np
import pytest

from db.errors import UserError
from db.labels.csv_file import LabelRow, read_labels_csv
from trainer.data.dataset import label_matrix, labelled_rows, learnable_findings, load_examples
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


def test_a_label_is_one_where_the_csv_says_so(rows):
    """`Abnormal` means any finding, and only findings that occur are learned."""
    findings = learnable_findings(rows)
    matrix = label_matrix(rows, findings)
    assert findings[0] == "Abnormal"
    assert matrix.any(axis=0).all()
    np.testing.assert_array_equal(matrix[:, 0], [row.findings != ("No Finding",) for row in rows])
    np.testing.assert_array_equal(matrix[:, 0], matrix[:, 1:].max(axis=1))


def test_chosen_targets_are_learned_and_no_others(rows):
    """In the usual order of findings; a finding that no scan has is refused."""
    assert learnable_findings(rows, ("Effusion", "Abnormal")) == ("Abnormal", "Effusion")
    with pytest.raises(UserError, match="--target Hernia: no training scan has it"):
        learnable_findings(rows, ("Hernia",))


def test_an_unlabelled_scan_is_left_out(rows):
    """It is not a normal scan; a CSV with only such scans is refused."""
    bare = LabelRow(
        image_name="a.png", findings=(), patient_id="1", view=None, sex=None, age_years=None, follow_up=None
    )
    assert labelled_rows([bare, *rows]) == list(rows)
    with pytest.raises(UserError, match="nothing to learn"):
        labelled_rows([bare])
