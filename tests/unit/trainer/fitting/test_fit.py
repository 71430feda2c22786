"""The whole fit, on phantoms with a small DenseNet."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from db.errors import UserError
from db.evaluation.evaluate import GIVEN
from db.labels.csv_file import read_labels_csv
from trainer.data.training_data import Source
from trainer.fitting.fit import FitOptions, fit
from trainer.recipe import make_recipe
from worker.artifacts.artifact import load_artifact
from worker.artifacts.exports import EXPORTS_FILE, read_format
from worker.artifacts.keras_import import keras
from worker.artifacts.manifest import MODEL_FILE
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.split_file import read_split

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
TINY = {"encoder": "densenet37", "size": 32, "epochs": 3, "batch_size": 8}
DOCUMENTS = {"evaluation.json", "curves.png", "MODEL_CARD.md"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def options(home):
    return FitOptions(models=FolderModelStore(home / "models"), scratch=home / "trainer")


@pytest.fixture(scope="module")
def fitted(phantoms, options):
    return fit("tiny", Source(csv=phantoms), make_recipe("best", **TINY), options)


def test_a_fit_publishes_an_artifact_that_a_worker_accepts(fitted):
    """Every file is there and has its hash, and no temporary file is left beside it."""
    artifact = load_artifact(fitted.artifact.folder)
    assert artifact.sha256 == fitted.artifact.sha256
    assert set(artifact.manifest.files) == {MODEL_FILE, "split.csv", "history.csv"}
    assert {path.name for path in artifact.folder.iterdir()} > DOCUMENTS
    assert [path.name for path in artifact.folder.parent.iterdir()] == [artifact.sha256[:12]]
    assert read_format(artifact, "openvino")


def test_the_split_covers_every_scan(fitted, phantoms):
    """Patients have the ids that SQL has, without leading zeros."""
    rows = {row.image_name: row.patient_id for row in read_labels_csv(phantoms).rows}
    assert {row.image_name: row.patient_id for row in read_split(fitted.artifact.folder)} == rows


def test_the_published_model_scores_pixels_as_the_manifest_says(fitted):
    """From uint8 pixels of the manifest's shape to a score in [0, 1] for each of its findings, all in float32."""
    manifest = fitted.artifact.manifest
    model = keras.models.load_model(fitted.artifact.folder / MODEL_FILE)
    scores = model.predict(np.zeros((2, *manifest.preprocessing.shape), np.uint8), verbose=0)
    assert scores.shape == (2, len(manifest.findings))
    assert ((scores >= 0) & (scores <= 1)).all()
    assert {layer.compute_dtype for layer in model.get_layer("densenet37").layers} == {"float32"}


def test_the_manifest_says_how_the_model_was_fitted(fitted, phantoms):
    """Seed, counts, versions, the data set, and the temperatures and thresholds from validation."""
    manifest = fitted.artifact.manifest
    assert (manifest.dataset, manifest.encoder, manifest.about["seed"]) == (phantoms.stem, "densenet37", 0)
    assert manifest.about["scans_train"] > manifest.about["scans_validation"] > 0
    assert "keras" in manifest.about
    assert (manifest.format_version, manifest.preprocessing.rule, manifest.views) == (2, 2, ("AP", "PA"))
    assert set(manifest.temperatures) == set(manifest.findings)
    assert set(manifest.thresholds["Abnormal"]) == {"best_f1", "youden", "sensitivity_90"}


def test_the_evaluation_is_of_the_test_subset(fitted):
    """Its counts are those of the split, and the file has the same figures."""
    test = [row for row in read_split(fitted.artifact.folder) if row.subset == "test"]
    assert (fitted.evaluation.scans, fitted.evaluation.patients) == (len(test), len({row.patient_id for row in test}))
    written = json.loads((fitted.artifact.folder / "evaluation.json").read_text())
    assert (written["of"]["subset"], written["of"]["model_sha256"]) == ("test", fitted.artifact.sha256)
    assert written["evaluation"] == json.loads(json.dumps(asdict(fitted.evaluation)))


def test_the_contact_sheet_is_not_published(fitted, options):
    """It shows names and pixels of patients."""
    assert fitted.contact_sheet == options.scratch / "disagreements" / "tiny.png"
    assert fitted.contact_sheet.read_bytes().startswith(b"\x89PNG")
    assert not list(fitted.artifact.folder.glob("*disagree*"))


def test_a_taken_name_is_refused_before_the_work(fitted, options):
    """A name stands for one artifact."""
    with pytest.raises(UserError, match="choose another"):
        fit("tiny", Source(csv=Path("nowhere.csv")), make_recipe("best"), options)
    assert fitted


def test_a_fit_that_is_killed_and_resumed_gives_the_same_model(fitted, phantoms, options, home):
    """After kill -9 in the second epoch, the same command ends with the weights of a fit that was not interrupted."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    command = [
        sys.executable,
        "-m",
        "trainer.cli",
        "fit",
        "--csv",
        str(phantoms),
        "--name",
        "killed",
        "--no-export",
        *flags,
    ]
    environment = {**os.environ, "CXR_HOME": str(home), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=home)
    for line in process.stderr:
        if line.startswith("epoch 1/3"):
            os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    checkpoint = options.scratch / "fits" / "killed.npz"
    assert checkpoint.exists()
    resumed = fit("killed", Source(csv=phantoms), make_recipe("best", **TINY), replace(options, export=False))
    expected, actual = (
        keras.models.load_model(each.artifact.folder / MODEL_FILE).get_weights() for each in (fitted, resumed)
    )
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(one, other)
    assert resumed.evaluation == fitted.evaluation
    assert not checkpoint.exists()


@pytest.mark.variant
def test_the_reports_recipe_fits_too(phantoms, options):
    """Without validation there are no thresholds or temperatures; the card warns that subsets share patients."""
    recipe = make_recipe("report", encoder="densenet37", size=32, epochs=1, batch_size=8)
    fitted = fit("report", Source(csv=phantoms), recipe, replace(options, export=False))
    assert not (fitted.artifact.folder / EXPORTS_FILE).exists()
    manifest = fitted.artifact.manifest
    assert manifest.preprocessing.shape == (32, 32, 3)
    assert (manifest.findings, manifest.thresholds, manifest.temperatures) == (("Abnormal",), {}, {})
    assert {row.subset for row in read_split(fitted.artifact.folder)} == {"train", "test"}
    assert [at.chosen_by for at in fitted.evaluation.findings["Abnormal"].thresholds] == [GIVEN] * 5
    assert "flatter" in (fitted.artifact.folder / "MODEL_CARD.md").read_text()
