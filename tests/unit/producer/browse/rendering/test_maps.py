"""Maps come from whichever model of the store is asked for, and TensorFlow is loaded with the first of them."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from db.errors import UserError
from db.settings import load_settings
from producer.browse.rendering.maps import Maps
from tests.support.imports import ROOT
from tests.support.world import radiograph
from worker.artifacts.manifest import Manifest
from worker.artifacts.model_store import FolderModelStore
from worker.images.preprocessing import Preprocessing
from worker.settings import ModelSettings

FINDINGS = ("Abnormal", "Mass")
SCANS = [radiograph(number, side=32)[:, :, np.newaxis] for number in range(3)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with the models `one` and `two`."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def models(home):
    """Their artifacts."""
    return [write_model(home, name, weight) for name, weight in (("one", 1.0), ("two", 2.0))]


def write_model(home, name, weight):
    """A model whose logit of the second finding is `weight` times the mean pixel."""
    from trainer.publishing.publish import write_artifact
    from worker.artifacts.keras_import import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((32, 32, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.AveragePooling2D(8),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="sigmoid"),
        ]
    )
    model.layers[-1].set_weights([np.array([[0.5, weight]]), np.zeros(2)])
    manifest = Manifest(name=name, findings=FINDINGS, preprocessing=Preprocessing(height=32, width=32), dataset="d")
    return write_artifact(model, manifest, split=(), models=FolderModelStore(home / "models"))


def maps_in(home):
    return Maps(load_settings(ModelSettings, home=home))


def test_hidden_gpus_are_seen_again_by_what_the_process_starts(home, models, monkeypatch):
    """Only the loading of a model hides them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    maps_in(home).maps_of(models[0].sha256, SCANS[0])
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ.get("JAX_PLATFORMS")) == ("1", None)


def test_threads_that_ask_for_different_models_get_the_maps_of_theirs(home, models):
    """One model is loaded at a time, and each request waits for its own."""
    maps = maps_in(home)
    asked = [(model, scan) for scan in SCANS for model in models] * 2
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: maps.maps_of(one[0].sha256, one[1]), asked))
    for (model, scan), answer in zip(asked, found, strict=True):
        weight = 1 + models.index(model)
        assert answer.agrees
        assert answer.logits[1] == pytest.approx(weight * scan.mean() / 255, rel=1e-5)


def test_a_model_that_is_gone_gives_a_sentence(home):
    """A run outlives the model that scored it."""
    with pytest.raises(UserError, match=r"no artifact 0123456789ab here; CXR_MODEL_DIR must hold the model's folder"):
        maps_in(home).maps_of("0123456789ab" + 52 * "0", SCANS[0])


@pytest.mark.slow
def test_tensorflow_is_loaded_with_the_first_map_without_a_word_on_the_terminal(home, models):
    """The page of a run needs none of it, and the terminal belongs to the address that was printed."""
    code = f"""
import sys
import numpy as np
from pathlib import Path
from db.settings import load_settings
from producer.browse.rendering.maps import Maps
from worker.settings import ModelSettings
maps = Maps(load_settings(ModelSettings, home=Path({str(home)!r})))
assert not {{"tensorflow", "keras", "jax"}} & sys.modules.keys()
assert maps.maps_of({models[0].sha256!r}, np.eye(32, dtype=np.uint8)[:, :, np.newaxis]).agrees
import tensorflow
assert not tensorflow.config.list_physical_devices("GPU")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
