"""Evaluating an artifact on the scans of a CSV: which scans are used, and what the result says about them."""

import csv
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from typer.testing import CliRunner

from db.errors import UserError
from db.labels.csv_file import LabelsFile, read_labels_csv
from db.ledger.scans import ImageHeader
from trainer.cli import app
from trainer.data.held_out import unseen_rows
from trainer.data.split import split_by_patient
from trainer.data.training_data import Source
from trainer.evaluation.evaluate_artifact import evaluate_artifact, evaluation_json
from trainer.network.model import build_model
from trainer.publishing.publish import write_artifact
from trainer.recipe import make_recipe
from worker.artifacts.manifest import Manifest
from worker.artifacts.model_store import FolderModelStore, find_by_name
from worker.artifacts.split_file import SplitRow


@pytest.fixture(scope="module")
def artifact(phantoms, tmp_path_factory):
    """A model with random weights, whose split says that it was fitted on some of the phantoms."""
    split = split_by_patient(read_labels_csv(phantoms).rows, validation_share=0.15, test_share=0.25, seed=0)
    return publish_random(phantoms, tmp_path_factory.mktemp("models"), split)


def publish_random(phantoms, models, split, **about):
    """Publish a model with random weights and this split; `about` stands in its manifest."""
    recipe = make_recipe("best", encoder="densenet37", size=32)
    findings = ("Abnormal", "Effusion")
    manifest = Manifest(
        format_version=2,
        name="random",
        findings=findings,
        preprocessing=recipe.preprocessing,
        dataset=phantoms.stem,
        thresholds={"Abnormal": {"youden": 0.5}},
        about=about,
    )
    return write_artifact(build_model(recipe, findings), manifest, split=split, models=FolderModelStore(models))


def source_of(phantoms, csv):
    """Another CSV of the phantoms' images."""
    return Source(csv=csv, images=str(phantoms.parent / "images"))


def subset_of(artifact, *wanted):
    lines = csv.DictReader((artifact.folder / "split.csv").open())
    return [line for line in lines if line["subset"] in wanted]


def test_only_scans_that_the_model_never_saw_are_used(artifact, phantoms, tmp_path):
    """Of its own CSV the test subset; the number of scans left out is reported."""
    context, evaluation = evaluate_artifact(artifact, Source(csv=phantoms), cache=tmp_path)
    assert evaluation.scans == len(subset_of(artifact, "test"))
    assert (context.subset, context.seen) == ("unseen", len(subset_of(artifact, "train", "validation")))
    assert (context.model, context.model_sha256) == ("random", artifact.sha256)
    own = evaluation.findings["Abnormal"].thresholds[-1]
    assert (own.chosen_by, own.rates.threshold) == ("youden", 0.5)
    written = json.loads(evaluation_json(context, evaluation))
    assert (list(written), written["format"]) == (["format", "of", "evaluation"], 2)
    assert written["of"]["labels_sha256"] == read_labels_csv(phantoms).sha256
    assert written["evaluation"] == json.loads(json.dumps(asdict(evaluation)))


def test_all_scans_are_used_when_requested(artifact, phantoms, tmp_path):
    """The result says so."""
    context, evaluation = evaluate_artifact(artifact, Source(csv=phantoms), cache=tmp_path, include_seen=True)
    assert (context.subset, context.seen) == ("all", 0)
    assert evaluation.scans == len(read_labels_csv(phantoms).rows)


def test_a_renamed_csv_hides_no_scan_that_was_seen(artifact, phantoms, tmp_path):
    """NIH's names identify a scan and lead to its patient, whatever the CSV is called."""
    renamed = shutil.copy(phantoms, tmp_path / "other.csv")
    file = read_labels_csv(renamed)
    kept = {row.image_name for row in unseen_rows(file.dataset, file.rows, artifact)}
    assert kept == {line["image_name"] for line in subset_of(artifact, "test")}


def test_another_hospitals_patient_of_the_same_number_is_another_patient(artifact, phantoms, tmp_path):
    """Patient ids are unique only within a dataset, so images of other names are all unseen."""
    text = phantoms.read_text().replace(".png", "_other.png")
    (tmp_path / "other.csv").write_text(text)
    file = read_labels_csv(tmp_path / "other.csv")
    assert unseen_rows(file.dataset, file.rows, artifact) == list(file.rows)


def test_a_csv_of_only_seen_scans_is_refused_in_one_sentence(artifact, phantoms, tmp_path):
    """It names the flag that includes them."""
    seen = {line["image_name"] for line in subset_of(artifact, "train")}
    head, *lines = phantoms.read_text().splitlines()
    (tmp_path / "seen.csv").write_text("\n".join([head, *(line for line in lines if line.split(",")[0] in seen)]))
    with pytest.raises(UserError, match=r"seen\.csv: random was fitted or tuned on every scan .* --include-seen"):
        evaluate_artifact(artifact, source_of(phantoms, tmp_path / "seen.csv"), cache=tmp_path)


def test_a_csv_without_patients_is_evaluated_with_a_note(artifact, phantoms, tmp_path):
    """Held out by patient cannot be told then, and the evaluation says so; that of its own CSV does not."""
    text = phantoms.read_text().replace("Patient ID", "Case")
    (tmp_path / "other.csv").write_text(text)
    context, evaluation = evaluate_artifact(artifact, source_of(phantoms, tmp_path / "other.csv"), cache=tmp_path)
    note = "Held out by patient cannot be told: no scan has a patient id."
    assert json.loads(evaluation_json(context, evaluation))["of"]["held_out_note"] == note
    assert (evaluation.patients, evaluation.scans_without_patient) == (0, evaluation.scans)
    assert evaluate_artifact(artifact, Source(csv=phantoms), cache=tmp_path)[0].held_out_note is None


@pytest.mark.parametrize("listed", [False, True])
def test_a_model_whose_fitted_scans_nobody_knows_is_evaluated_with_a_note(phantoms, tmp_path, monkeypatch, listed):
    """Of all scans that its split does not list, which it calls neither unseen nor held out."""
    rows = read_labels_csv(phantoms).rows
    split = split_by_patient(rows, validation_share=0.15, test_share=0.25, seed=0) if listed else []
    model = publish_random(phantoms, tmp_path / "models", split, fitted_scans="unknown")
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    arguments = ["evaluate", "--model", "random", "--csv", str(phantoms), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    which = "which other scans" if listed else "which scans"
    note = f"Held out: unknown. Nobody knows {which} the model was fitted on, so the figures may flatter it."
    assert note in done.stdout.splitlines()
    assert "was not fitted on" not in done.stdout
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (told["of"]["subset"], told["of"]["held_out_note"]) == ("unlisted", note)
    assert (told["evaluation"]["scans"] < len(rows)) == listed
    everything, _ = evaluate_artifact(model, Source(csv=phantoms), cache=tmp_path, include_seen=True)
    assert (everything.subset, everything.held_out_note) == ("all", note)


def test_a_renamed_film_is_known_by_its_bytes_and_leads_to_its_patient(phantoms, tmp_path):
    """One of the patient's two films was fitted on; another patient's film remains."""
    rows = read_labels_csv(phantoms).rows
    patient = next(row.patient_id for row in rows if sum(one.patient_id == row.patient_id for one in rows) > 1)
    same = [row.image_name for row in rows if row.patient_id == patient]
    other = next(row.image_name for row in rows if row.patient_id != patient)
    content = f"sha256:{hashlib.sha256((phantoms.parent / 'images' / same[0]).read_bytes()).hexdigest()}"
    fitted = SplitRow(image_name="old.png", patient_id="x", subset="train", dataset="d", content=content)
    artifact = publish_random(phantoms, tmp_path / "models", [fitted])
    source = source_of(phantoms, _subset_csv(phantoms, tmp_path, [*same, other]))
    context, evaluation = evaluate_artifact(artifact, source, cache=tmp_path)
    assert (context.seen, evaluation.scans) == (len(same), 1)
    with pytest.raises(UserError, match="fitted or tuned on every scan"):
        evaluate_artifact(artifact, source_of(phantoms, _subset_csv(phantoms, tmp_path, same)), cache=tmp_path)


def _subset_csv(phantoms, folder, names):
    head, *lines = phantoms.read_text().splitlines()
    path = folder / "renamed.csv"
    path.write_text("\n".join([head, *(line for line in lines if line.split(",")[0] in names)]))
    return path


def test_an_uncertain_label_is_in_no_figure_and_its_scan_stays_in_others(artifact, phantoms, tmp_path):
    """Each finding has its own number of scans. Groups by manufacturer are of the headers."""
    rows = read_labels_csv(phantoms).rows
    doubtful = replace(
        next(row for row in rows if row.findings == ("No Finding",)), findings=(), uncertain=("Effusion",)
    )
    file = replace(
        read_labels_csv(phantoms),
        rows=tuple(doubtful if row.image_name == doubtful.image_name else row for row in rows),
    )
    evaluation = evaluate_artifact(artifact, _Given(csv=phantoms, file=file), cache=tmp_path, include_seen=True)[1]
    assert evaluation.scans == len(rows)
    assert list(evaluation.findings["Abnormal"].groups["manufacturer"]) == ["Acme"]
    assert {finding: one.figures.scans for finding, one in evaluation.findings.items()} == dict.fromkeys(
        ("Abnormal", "Effusion"), len(rows) - 1
    )


@dataclass(frozen=True, kw_only=True)
class _Given(Source):
    """A source with other labels, whose images have a header."""

    file: LabelsFile

    def read_labels(self):
        return self.file

    def find_scans(self):
        scans = super().find_scans()
        header = ImageHeader(manufacturer="Acme")
        return replace(scans, found={name: replace(image, header=header) for name, image in scans.found.items()})


def test_the_command_writes_into_the_home_and_not_into_the_current_folder(artifact, phantoms, tmp_path, monkeypatch):
    """A folder for each model and CSV, whose file it prints; another one if all scans are used."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CXR_MODEL_DIR", str(artifact.folder.parent))
    command = ["evaluate", "--model", "random", "--csv", str(phantoms)]
    for flags, name in (((), phantoms.stem), (("--include-seen",), f"{phantoms.stem}-all")):
        done = CliRunner().invoke(app, [*command, *flags])
        file = tmp_path / "home" / "evaluations" / f"{artifact.sha256[:12]}-{name}" / "evaluation.json"
        assert done.exit_code == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(file)
        assert json.loads(file.read_text())["of"]["model_sha256"] == artifact.sha256
    assert not list((tmp_path / "here").iterdir())


def test_an_artifact_is_found_by_name_and_by_hash(artifact):
    """A name that no artifact has is refused with the names that exist."""
    models = FolderModelStore(artifact.folder.parent)
    assert find_by_name("random", models) == find_by_name(artifact.sha256[:12], models)
    with pytest.raises(UserError, match="random"):
        find_by_name("other", models)


def test_the_contact_sheet_shows_the_most_confident_errors():
    """Positives from the lowest score up, negatives from the highest score down, and none whose label is unknown."""
    from trainer.evaluation.contact_sheet import most_confident_errors

    labels = np.array([1, 0, 1, 0, 1, np.nan], np.float32)
    scores = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.5], np.float32)
    assert most_confident_errors(labels, scores) == ([2, 4, 0], [1, 3])
