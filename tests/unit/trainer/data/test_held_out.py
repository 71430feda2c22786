"""Which scans of a CSV an artifact's model has seen."""

import pytest

from db.labels.csv_file import LabelRow
from tests.support.held_out_cases import CASES, each_held_out_case, hash_of
from trainer.data.held_out import unseen_rows, used_rows
from worker.artifacts.manifest import Artifact, Manifest
from worker.artifacts.split_file import SplitRow, write_split

BY_NAME = [case for case in CASES if not any(scan.content for scan in case.scans)]


def rows_of(scans):
    nothing = {"findings": ("No Finding",), "view": None, "sex": None, "age_years": None, "follow_up": None}
    return [LabelRow(image_name=scan.image, patient_id=scan.patient, **nothing) for scan in scans]


def names(rows):
    return {row.image_name for row in rows}


def artifact_of(folder, fitted):
    """An artifact of dataset `nih` with this split."""
    split = [
        SplitRow(
            image_name=one.image,
            patient_id=one.patient,
            subset=one.subset,
            dataset=one.dataset,
            content=hash_of(one.content),
        )
        for one in fitted
    ]
    write_split(folder, split)
    return Artifact(folder=folder, sha256="ab" * 32, manifest=Manifest(name="m", dataset="nih", findings=("Mass",)))


@each_held_out_case
def test_the_trainer_knows_which_scans_a_model_has_seen(case, tmp_path):
    """The rule of `trainer evaluate`; a run's report is held to the same table of cases."""
    contents = {scan.image: hash_of(scan.content) for scan in case.scans if scan.content}
    artifact = artifact_of(tmp_path, case.fitted)
    unseen = unseen_rows(case.dataset, rows_of(case.scans), artifact, contents=contents)
    assert names(unseen) == {scan.image for scan in case.scans if scan.expected == "held out"}


@pytest.mark.parametrize("case", BY_NAME, ids=lambda case: case.name)
def test_a_scan_is_used_only_if_it_is_itself_in_the_split(case, tmp_path):
    """Another scan of its patient is not the scan; before images are read, only names tell."""
    artifact = artifact_of(tmp_path, case.fitted)
    used = used_rows(case.dataset, rows_of(case.scans), artifact, used=("train", "validation"))
    assert names(used) == {scan.image for scan in case.scans if scan.expected == "itself"}
