from typing import get_args

import keras
import numpy as np
import pytest

from db.errors import UserError
from db.labels_csv import read_labels_csv
from trainer.baseline import artifact_named, baseline_of_artifact
from trainer.cli import Encoder
from trainer.fit import FitOptions, fit
from trainer.model import ENCODERS, build_model
from worker.artifact import load_artifact, read_split
from worker.manifest import MODEL_FILE, Preprocessing


@pytest.fixture(scope="module")
def fitted(phantoms, tmp_path_factory):
    options = FitOptions(csv=phantoms, name="tiny", encoder="densenet37", size=32, epochs=2, batch_size=8)
    return fit(options, model_dir=tmp_path_factory.mktemp("models"))


def test_a_fit_publishes_an_artifact_that_a_worker_accepts(fitted):
    """Every file is there and has its hash, and nothing half-made lies beside it."""
    artifact = load_artifact(fitted.artifact.folder)
    assert artifact.sha256 == fitted.artifact.sha256
    assert set(artifact.manifest.files) == {MODEL_FILE, "split.csv", "history.csv"}
    assert [path.name for path in artifact.folder.parent.iterdir()] == [artifact.sha256[:12]]


def test_the_split_covers_every_scan(fitted, phantoms):
    """And speaks of patients as SQL does, without leading zeros."""
    rows = {row.image_name: row.patient_id for row in read_labels_csv(phantoms).rows}
    assert {row.image_name: row.patient_id for row in read_split(fitted.artifact.folder)} == rows


def test_the_published_model_scores_pixels_as_the_manifest_says(fitted):
    """uint8 of the manifest's shape in, one score in [0, 1] for each of its findings out."""
    manifest = fitted.artifact.manifest
    model = keras.models.load_model(fitted.artifact.folder / MODEL_FILE)
    scores = model.predict(np.zeros((2, *manifest.preprocessing.shape), np.uint8), verbose=0)
    assert scores.shape == (2, len(manifest.findings))
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_manifest_says_how_the_model_came_about(fitted, phantoms):
    """Seed, counts, versions and the data set."""
    manifest = fitted.artifact.manifest
    assert (manifest.dataset, manifest.encoder, manifest.about["seed"]) == (phantoms.stem, "densenet37", 0)
    assert manifest.about["scans_train"] > manifest.about["scans_validation"] > 0
    assert "keras" in manifest.about


def test_a_taken_name_is_refused_before_the_work(fitted, phantoms):
    """A name is one artifact's alias."""
    with pytest.raises(UserError, match="choose another"):
        fit(FitOptions(csv=phantoms, name="tiny"), model_dir=fitted.artifact.folder.parent)


def test_an_artifact_is_found_by_name_and_by_hash(fitted):
    """And a name that nobody has is refused with the names that there are."""
    model_dir = fitted.artifact.folder.parent
    assert artifact_named("tiny", model_dir) == artifact_named(fitted.artifact.sha256[:12], model_dir)
    with pytest.raises(UserError, match="tiny"):
        artifact_named("other", model_dir)


def test_the_baseline_is_of_the_test_subset(fitted, phantoms):
    """The scans that the model was not fitted on, and no others."""
    held_out = [row for row in read_split(fitted.artifact.folder) if row.subset == "test"]
    assert baseline_of_artifact(phantoms, None, fitted.artifact).scans == len(held_out)


def test_densenet121_has_the_parameters_of_the_paper():
    """As many as Keras' own DenseNet121 of the same input."""
    keras.utils.set_random_seed(0)
    ours = build_model(preprocessing=Preprocessing(height=32, width=32), findings=("Abnormal",))
    theirs = keras.applications.DenseNet121(weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 1))
    assert ours.count_params() == theirs.count_params() + 1024 + 1


def test_an_unknown_encoder_is_refused():
    """With the names of those that there are."""
    with pytest.raises(UserError, match="densenet121"):
        build_model(preprocessing=Preprocessing(), findings=("Abnormal",), encoder="resnet")


def test_the_command_line_offers_the_encoders_that_there_are():
    """It names them without importing Keras, so the two lists could drift apart."""
    assert get_args(Encoder) == tuple(ENCODERS)
