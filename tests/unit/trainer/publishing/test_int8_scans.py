"""No patient calibrates int8 and proves it; a model that knows none of its scans takes any labelled CSV."""

import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from tests.support.small_graph import FINDINGS, artifact_in
from trainer.data.split import split_by_image, split_by_patient
from trainer.data.training_data import Source
from trainer.publishing import int8_scans as module
from trainer.publishing.int8_scans import load_int8_scans
from worker.artifacts.split_file import SplitRow


def artifact_with_split(phantoms, tmp_path, split_rows):
    rows = read_labels_csv(phantoms).rows
    split = split_rows(rows, validation_share=0.4, test_share=0.2, seed=0)
    return artifact_in(tmp_path, split), {one.image_name: one.subset for one in split}, rows


def names(rows, subsets, wanted):
    return {row.image_name for row in rows if subsets[row.image_name] == wanted}


@pytest.fixture
def few_are_enough(monkeypatch):
    monkeypatch.setattr(module, "MIN_PATIENTS", 1)


def spied_rows(monkeypatch):
    """The rows that are read, in their order."""
    asked = []
    read = module.read_scans
    monkeypatch.setattr(module, "read_scans", lambda *given, **also: asked.extend(given[0]) or read(*given, **also))
    return asked


def test_training_scans_calibrate_and_validation_scans_judge(phantoms, tmp_path, monkeypatch, few_are_enough):
    """By the artifact's own split; test scans are not looked at."""
    artifact, subsets, rows = artifact_with_split(phantoms, tmp_path, split_by_patient)
    asked = spied_rows(monkeypatch)
    scans = load_int8_scans(artifact, Source(csv=phantoms), count=1000, cache=tmp_path / "cache")
    validation = names(rows, subsets, "validation")
    assert {one.image_name for one in scans.validation.rows} == validation
    assert {one.image_name for one in asked} == validation | names(rows, subsets, "train")
    assert len(scans.calibration) == len(names(rows, subsets, "train"))
    assert scans.validation.labels.shape == (len(validation), len(FINDINGS))
    at = asked.index(scans.validation.rows[0])
    assert (scans.validation.pixels[scans.validation.indices[0]] == scans.validation.pixels[at]).all()
    assert len(load_int8_scans(artifact, Source(csv=phantoms), count=3, cache=tmp_path / "cache").calibration) == 3


def test_no_patient_calibrates_and_judges(phantoms, tmp_path, few_are_enough):
    """A split by image parts a patient's scans: those of patients whom the model was fitted on judge nothing."""
    artifact, subsets, rows = artifact_with_split(phantoms, tmp_path, split_by_image)
    fitted = {one.patient_id for one in rows if subsets[one.image_name] == "train"}
    apart = {one.image_name for one in rows if subsets[one.image_name] == "validation" and one.patient_id not in fitted}
    assert set() < apart < names(rows, subsets, "validation")
    scans = load_int8_scans(artifact, Source(csv=phantoms), count=9, cache=tmp_path / "cache")
    assert {one.image_name for one in scans.validation.rows} == apart


def test_a_csv_of_other_scans_is_one_sentence(phantoms, tmp_path):
    """With too few validation scans or no training scan, it says what is missing."""
    artifact, _, _ = artifact_with_split(phantoms, tmp_path, split_by_patient)
    with pytest.raises(
        UserError, match=r"\d+ labelled validation scans of \d patients that small was not fitted on; .* 20 such"
    ):
        load_int8_scans(artifact, Source(csv=phantoms), count=9, cache=tmp_path / "cache")
    (tmp_path / "other").mkdir()
    validation = SplitRow(image_name="elsewhere.png", patient_id="elsewhere", subset="validation")
    other = artifact_in(tmp_path / "other", [validation])
    with pytest.raises(UserError, match="small was fitted on none of these scans; --int8 needs the CSV"):
        load_int8_scans(other, Source(csv=phantoms), count=9, cache=tmp_path / "cache")


def patients_of(rows):
    return {one.patient_id for one in rows}


def test_without_validation_scans_some_patients_calibrate_and_the_others_judge(
    phantoms, tmp_path, monkeypatch, few_are_enough
):
    """As of an imported model: all labelled scans of the others, who are at least half; and the same ones each time."""
    rows = read_labels_csv(phantoms).rows
    artifact, asked = artifact_in(tmp_path), spied_rows(monkeypatch)
    scans = load_int8_scans(artifact, Source(csv=phantoms), count=1000, cache=tmp_path / "cache")
    calibrating = asked[: len(scans.calibration)]
    judging = patients_of(scans.validation.rows)
    assert len(patients_of(calibrating)) == len(judging) == 4
    assert judging.isdisjoint(patients_of(calibrating))
    assert set(scans.validation.rows) == {one for one in rows if one.patient_id in judging}
    assert (scans.dataset, scans.kind) == (phantoms.stem, "scans")
    assert scans.validation.labels.shape == (len(scans.validation.rows), len(FINDINGS))
    few = load_int8_scans(artifact, Source(csv=phantoms), count=2, cache=tmp_path / "cache")
    assert len(few.calibration) == 2
    assert judging <= patients_of(few.validation.rows)


@pytest.mark.parametrize("enough", [9, 8])
def test_too_few_patients_are_one_sentence(phantoms, tmp_path, monkeypatch, enough):
    """Also if nobody is left to calibrate on."""
    monkeypatch.setattr(module, "MIN_PATIENTS", enough)
    with pytest.raises(
        UserError,
        match=rf"scans of 8 patients; small has no validation scans, .* needs {enough} patients .* and others",
    ):
        load_int8_scans(artifact_in(tmp_path), Source(csv=phantoms), count=9, cache=tmp_path / "cache")


def test_without_patient_ids_nothing_can_be_parted(phantoms, tmp_path):
    """The sentence names the column."""
    labels = tmp_path / phantoms.name
    header, *lines = phantoms.read_text().splitlines()
    labels.write_text("\n".join([header.replace("Patient ID", "Number"), *lines]))
    source = Source(csv=labels, images=str(phantoms.parent / "images"))
    with pytest.raises(UserError, match=r"has no labelled scan with a patient id; .* add a column 'Patient ID'"):
        load_int8_scans(artifact_in(tmp_path / "models"), source, count=9, cache=tmp_path / "cache")
