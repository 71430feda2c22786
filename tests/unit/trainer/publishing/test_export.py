"""A model in another runtime's format scores as it does in Keras, or is not published."""

import numpy as np
import pytest

from db.errors import UserError
from trainer.data.training_data import Source
from trainer.network.model import build_model
from trainer.publishing.export import export_artifact, load_scans
from trainer.publishing.publish import write_artifact
from trainer.recipe import make_recipe
from worker.artifacts.artifact import file_sha256, load_artifact
from worker.artifacts.exports import EXPORTS_FILE, INT8, ONNX_FILE, OPENVINO_FILE, Exports, Int8Export, write_exports
from worker.artifacts.keras_import import keras
from worker.artifacts.manifest import MODEL_FILE, Manifest
from worker.artifacts.model_store import FolderModelStore

pytestmark = pytest.mark.slow

FINDINGS = ("Abnormal", "Effusion")
#: What `trainer export --int8` wrote earlier.
EARLIER = Int8Export(
    runtime="openvino 2026.4.1",
    rest="float32",
    quantizer="nncf 3.4.0",
    calibrated_on=256,
    files={},
    scans=1113,
    patients=316,
    findings=2,
    auroc_float32=0.7,
    auroc_int8=0.7,
    loss_bound=0.001,
    resamples=1000,
    max_loss=0.01,
    max_difference=0.1,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return FolderModelStore(tmp_path_factory.mktemp("models"))


def artifact_of(models, name, **chosen):
    recipe = make_recipe("best", encoder="densenet37", size=32, **chosen)
    model = build_model(recipe, FINDINGS)
    manifest = Manifest(
        format_version=2,
        name=name,
        findings=FINDINGS,
        preprocessing=recipe.preprocessing,
        dataset="d",
        batch_size=5,
    )
    return write_artifact(model, manifest, split=(), models=models)


@pytest.fixture(scope="module")
def artifact(models):
    return artifact_of(models, "gray")


@pytest.fixture(scope="module")
def scans(artifact, phantoms, tmp_path_factory):
    return load_scans(artifact, Source(csv=phantoms), count=12, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def exports(artifact, scans, models):
    write_exports(artifact.folder, artifact.sha256, {INT8: EARLIER})
    return export_artifact(artifact, scans, models=models, tolerance=1e-4)


def test_both_formats_lie_beside_the_model(artifact, exports):
    """Each file under its hash, and the artifact is what it was before."""
    assert set(exports) == {"onnx", "openvino"}
    files = {name: sha256 for one in exports.values() for name, sha256 in one.files.items()}
    assert set(files) == {ONNX_FILE, OPENVINO_FILE, "openvino.bin"}
    assert {name: file_sha256(artifact.folder / name) for name in files} == files
    assert load_artifact(artifact.folder).sha256 == artifact.sha256


def test_an_export_to_int8_stays_in_the_list(artifact, exports):
    """It was proved on the same model."""
    listed = Exports.model_validate_json((artifact.folder / EXPORTS_FILE).read_bytes())
    assert listed == Exports(model=artifact.sha256, formats={**exports, INT8: EARLIER})


def test_what_was_measured_is_written_down(exports):
    """The difference, on how many scans, by which program."""
    for name, program in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        one = exports[name]
        assert (one.runtime.split()[0], one.precision, one.scans) == (program, "float32", 12)
        assert 0 <= one.max_difference <= 1e-4


@pytest.mark.parametrize("count", [1, 5, 7])
def test_a_reader_of_the_onnx_file_gets_kerass_scores(artifact, exports, count):
    """From uint8 pixels, in batches of any size."""
    import onnxruntime

    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 1), np.uint8)
    session = onnxruntime.InferenceSession(artifact.folder / ONNX_FILE)
    (scores,) = session.run(None, {"pixels": pixels})
    expected = keras.models.load_model(artifact.folder / MODEL_FILE).predict(pixels, verbose=0)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_color_and_imagenets_scaling_are_exported_too(models, phantoms, tmp_path):
    """The mini project's pixels, and the layers that transfer learning needs."""
    artifact = artifact_of(models, "color", color="bgr", scaling="imagenet", hidden=8)
    scans = load_scans(artifact, Source(csv=phantoms), count=4, cache=tmp_path)
    assert set(export_artifact(artifact, scans, models=models, tolerance=1e-4)) == {"onnx", "openvino"}


def test_scores_that_differ_by_more_than_was_stated_are_refused(models, scans):
    """With both numbers, and nothing is written."""
    artifact = artifact_of(models, "refused")
    with pytest.raises(UserError, match=r"differ from the Keras model's by up to .* on 12 scans, more than --tol.* 0;"):
        export_artifact(artifact, scans, models=models, tolerance=0.0)
    assert {path.name for path in artifact.folder.iterdir()} == {*artifact.manifest.files, "manifest.json"}


def test_scans_are_taken_from_all_of_the_csv(artifact, phantoms, tmp_path):
    """Not from its first patients."""
    scans = load_scans(artifact, Source(csv=phantoms), count=3, cache=tmp_path)
    every = load_scans(artifact, Source(csv=phantoms), count=1000, cache=tmp_path)
    assert (scans.rows[0], scans.rows[-1]) == (every.rows[0], every.rows[-1])
    assert len(scans.rows) == 3 < len(every.rows)


def test_a_package_that_is_not_installed_is_one_sentence(artifact, scans, models, monkeypatch):
    """It says how to install it."""
    monkeypatch.setattr(
        "trainer.console.optional_packages.find_spec", lambda name: None if name == "tf2onnx" else object()
    )
    with pytest.raises(UserError, match=r"needs tf2onnx: pip install 'nightread\[trainer\]'"):
        export_artifact(artifact, scans, models=models, tolerance=1e-4)


def test_another_backend_is_one_sentence(artifact, scans, models, monkeypatch):
    """Keras converts differently on each, and only one way is tested."""
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(UserError, match="needs KERAS_BACKEND=tensorflow, and it is jax"):
        export_artifact(artifact, scans, models=models, tolerance=1e-4)
