"""A scan's scores depend on its pixels alone, and a model that contradicts its manifest does not load."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db.errors import UserError
from tests.support.audited_process import run_audited
from tests.support.hash_scorer import HashScorer
from tests.support.world import hash_artifact, radiograph
from trainer.publishing.export import write_formats
from worker.artifacts.artifact import publish
from worker.artifacts.exports import EXPORTS_FILE, OPENVINO_FILE, write_exports
from worker.artifacts.manifest import MODEL_FILE, SPLIT_FILE, Manifest
from worker.images.preprocessing import Preprocessing
from worker.scoring.open_scorer import open_scorer
from worker.scoring.precision import cpu_has_bfloat16
from worker.scoring.scorer import pad_batch

FINDINGS = ("Abnormal", "Effusion", "Hernia")
BATCH = 32


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """A real model in miniature: rescaling, convolutions with batch normalisation, sigmoids."""
    from worker.artifacts.keras_import import keras

    keras.utils.set_random_seed(7)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((32, 32, 1), dtype="uint8"),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(FINDINGS), activation="sigmoid"),
        ]
    )
    # As built, normalisation would be the identity and every sigmoid near one half.
    rng = np.random.default_rng(7)
    draw = {1: lambda shape: rng.uniform(0.1, 1, shape), 2: lambda shape: rng.normal(0, 0.3, shape)}
    model.set_weights([draw.get(w.ndim, lambda shape: rng.normal(0, 0.4, shape))(w.shape) for w in model.get_weights()])
    path = tmp_path_factory.mktemp("keras") / MODEL_FILE
    model.save(path)
    return path


@pytest.fixture(scope="module")
def expected(keras_file, pixels):
    """Keras' own scores."""
    from worker.artifacts.keras_import import keras

    return keras.models.load_model(keras_file, compile=False).predict(pixels, verbose=0)


@pytest.fixture(scope="module")
def exported(keras_file, pixels, expected):
    """The miniature for OpenVINO: a folder and what lies in it."""
    from worker.artifacts.keras_import import keras

    folder = keras_file.parent / "exported"
    folder.mkdir()
    model = keras.models.load_model(keras_file, compile=False)
    return folder, write_formats(model, folder, pixels, batch_size=BATCH, tolerance=1e-4)


@pytest.fixture
def make_artifact(tmp_path, keras_file, exported):
    """Publish the miniature (or other bytes) under a manifest that may promise something else."""

    def make_artifact(content=None, **promises):
        staging = tmp_path / "staging"
        folder, formats = exported
        shutil.copytree(folder, staging)
        (staging / MODEL_FILE).write_bytes(keras_file.read_bytes() if content is None else content)
        (staging / SPLIT_FILE).write_text("image_name,patient_id,subset\n")
        fields = {
            "name": "mini",
            "findings": FINDINGS,
            "dataset": "d",
            "batch_size": BATCH,
            "preprocessing": Preprocessing(height=32, width=32),
            **promises,
        }
        return publish(staging, tmp_path / "models", Manifest(**fields), formats)

    return make_artifact


RUNTIMES = ("openvino", "keras")


@pytest.fixture(params=[(runtime, precision) for runtime in RUNTIMES for precision in ("float32", "bfloat16")], ids=str)
def scorer(make_artifact, request):
    if request.param[1] == "bfloat16" and not cpu_has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    return open_scorer(make_artifact(), *request.param)


@pytest.fixture(scope="module")
def pixels():
    return np.stack([radiograph(number, side=32)[:, :, np.newaxis] for number in range(BATCH)])


def cpu_has_avx512():
    return "avx512f" in Path("/proc/cpuinfo").read_text()


def test_a_scan_alone_scores_bitwise_as_among_thirty_one_others_in_any_place(scorer, pixels):
    """A scan that is retried alone after a fault must get exactly the scores of a run without faults.

    But for the last bits of Keras' float32 on CPUs without AVX-512, where a scan's place changes the order of its sums.
    """
    whole = scorer.score(pixels)
    is_exact = scorer.runtime.startswith("openvino") or scorer.precision == "bfloat16" or cpu_has_avx512()
    last_bits = 0 if is_exact else 1e-6
    for place in range(0, BATCH, 5):
        assert np.abs(scorer.score(pixels[place : place + 1])[0] - whole[place]).max() <= last_bits
        assert np.abs(scorer.score(np.roll(pixels, place, axis=0)) - np.roll(whole, place, axis=0)).max() <= last_bits
    assert np.abs(scorer.score(pixels[:7]) - whole[:7]).max() <= last_bits


def test_each_pass_has_the_one_batch_size(make_artifact, pixels, monkeypatch):
    """Large models compute a batch of 1 by other kernels, with other last bits; miniatures like this one do not."""
    scorer = open_scorer(make_artifact(), "keras")
    rows, forward = [], scorer._forward
    monkeypatch.setattr(scorer, "_forward", lambda batch: rows.append(len(batch)) or forward(batch))
    for count in (1, 31, 32):
        assert len(scorer.score(pixels[:count])) == count
    assert rows == [BATCH] * 3


@pytest.mark.parametrize(("cores", "size"), [(1, 8), (2, 8), (4, 16), (64, 32)])
def test_openvino_has_passes_of_one_size_eight_scans_for_each_core_of_a_stream(
    make_artifact, pixels, monkeypatch, cores, size
):
    """More do not stay in a core's cache; a short batch is filled up to the next pass, not to a whole batch."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    scorer = open_scorer(make_artifact(), "openvino")
    rows = []

    class Noting:
        """A request that notes how many scans it is given."""

        def __init__(self, request):
            self.request, self.input_tensors = request, request.input_tensors

        def infer(self, batches, **options):
            rows.extend(map(len, batches))
            return self.request.infer(batches, **options)

    for _ in range(scorer.streams):
        scorer._requests.put(Noting(scorer._requests.get()))
    for count in (1, 7, 32):
        assert len(scorer.score(pixels[:count])) == count
    assert rows == [size] * sum(-(-count // size) for count in (1, 7, 32))


def test_scores_are_what_keras_itself_computes(scorer, pixels, expected):
    """Compiling changes the last bits at most; bfloat16 has eight bits, and changes more."""
    scores = scorer.score(pixels)
    assert (scores.dtype, scores.shape) == (np.float32, (BATCH, len(FINDINGS)))
    difference = np.abs(scores - expected).max()
    assert difference < (1e-5 if scorer.precision == "float32" else 0.02)
    # The comparison says something only where scans differ.
    assert (scores.std(axis=0) > 1e-4).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_bfloat16_is_what_it_says(make_artifact, pixels):
    """Not float32 under another name, and its scores are not rounded to eight bits."""
    if not cpu_has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    artifact = make_artifact()
    for runtime in RUNTIMES:
        exact, rounded = (open_scorer(artifact, runtime, p).score(pixels) for p in ("float32", "bfloat16"))
        assert (exact != rounded).any(), runtime
        # A bfloat16 in float32's clothes ends in 16 zeros.
        assert (rounded.view(np.uint32) & 0xFFFF).any(), runtime


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_keras_compiled_by_xla_as_on_a_gpu_gives_the_same_scores(
    make_artifact, pixels, expected, monkeypatch, precision
):
    """On a CPU TensorFlow does without XLA, which is slower there."""
    monkeypatch.setattr("worker.scoring.runtimes.keras.has_gpu", lambda: True)
    scores = open_scorer(make_artifact(), "keras", precision).score(pixels)
    assert np.abs(scores - expected).max() < (1e-5 if precision == "float32" else 0.02)


FOREIGN_SETTINGS = '{"backend": "jax", "floatx": "float16", "epsilon": 0.5, "image_data_format": "channels_first"}'
SCORE = """
import sys
from pathlib import Path
import numpy as np
from worker.artifacts.artifact import load_artifact
from worker.scoring.open_scorer import open_scorer
folder, pixels, scores = map(Path, sys.argv[1:])
np.save(scores, open_scorer(load_artifact(folder), "keras", "float32").score(np.load(pixels)))
"""


@pytest.mark.slow
def test_another_programs_keras_json_changes_no_score(make_artifact, pixels, tmp_path):
    """Its backend, precision and order of dimensions are not a worker's."""
    artifact = make_artifact()
    np.save(tmp_path / "pixels.npy", pixels)
    (tmp_path / "keras.json").write_text(FOREIGN_SETTINGS)
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    arguments = [artifact.folder, tmp_path / "pixels.npy", tmp_path / "scores.npy"]
    subprocess.run([sys.executable, "-c", SCORE, *arguments], env={**environment, "KERAS_HOME": tmp_path}, check=True)
    expected = open_scorer(artifact, "keras", "float32").score(pixels)
    assert np.array_equal(np.load(tmp_path / "scores.npy"), expected)


def test_bfloat16_is_one_scorers_own(make_artifact, pixels, keras_file, expected):
    """Whatever else Keras computes in this process, a fit above all, it computes as before."""
    from worker.artifacts.keras_import import keras

    open_scorer(make_artifact(), "keras", "bfloat16" if cpu_has_bfloat16() else "auto").score(pixels)
    model = keras.models.load_model(keras_file, compile=False)
    assert np.array_equal(model.predict(pixels, verbose=0), expected)


def test_a_smaller_batch_gives_the_scores_of_the_larger_one(scorer, pixels):
    """After `shrink`, for a device that is short of memory; for miniatures to the bit."""
    whole = scorer.score(pixels)
    scorer.shrink()
    assert scorer.batch_size == BATCH // 2
    halves = [scorer.score(pixels[at : at + BATCH // 2]) for at in (0, BATCH // 2)]
    assert np.allclose(np.concatenate(halves), whole, atol=1e-6 if scorer.precision == "float32" else 0.01)


def test_a_scorer_says_what_it_is(scorer, request):
    """Recorded with every outcome."""
    runtime, precision = request.node.callspec.params["scorer"]
    assert (scorer.findings, scorer.batch_size) == (FINDINGS, BATCH)
    assert (scorer.runtime.split()[0], scorer.precision) == (runtime, precision)


def test_auto_is_openvino_on_the_cpu_where_the_model_was_exported_to_it(make_artifact, monkeypatch, caplog):
    """And Keras where it was not, or OpenVINO is not installed, and on a GPU; in what the CPU computes fastest."""
    artifact = make_artifact()
    fastest = "bfloat16" if cpu_has_bfloat16() else "float32"
    scorer = open_scorer(artifact)
    assert (type(scorer).__name__, scorer.precision) == ("OpenvinoScorer", fastest)
    with monkeypatch.context() as gpu:
        gpu.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaa0")
        assert type(open_scorer(artifact)).__name__ == "KerasScorer"
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda _: None)
        assert type(open_scorer(artifact)).__name__ == "KerasScorer"
    (artifact.folder / EXPORTS_FILE).unlink()
    scorer = open_scorer(artifact)
    assert "instead" not in caplog.text
    assert (type(scorer).__name__, scorer.precision) == ("KerasScorer", fastest)


def test_auto_scores_with_keras_where_the_export_is_damaged_and_says_so(make_artifact, caplog):
    """Slower is better than not at all."""
    artifact = make_artifact()
    (artifact.folder / OPENVINO_FILE).write_text("<net/>")
    assert type(open_scorer(artifact)).__name__ == "KerasScorer"
    assert "openvino.xml: exports.json says sha256" in caplog.text
    assert "scoring with Keras instead" in caplog.text


def test_on_openvino_neither_tensorflow_nor_keras_is_loaded_and_nobody_is_told(make_artifact):
    """They take seconds and most of a gigabyte; OpenVINO's telemetry asks for its server from a process of its own."""
    code = (
        "from pathlib import Path; import worker.scoring.process; from worker.artifacts.artifact import load_artifact; "
        f"worker.scoring.process.open_scorer(load_artifact(Path({str(make_artifact().folder)!r})), 'openvino'); "
        "print(*{'tensorflow', 'keras', 'jax', 'torch'} & {*sys.modules})"
    )
    assert run_audited(code) == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / OPENVINO_FILE).write_text("<net/>"), "openvino.xml: exports.json says sha256"),
        (lambda folder: (folder / "openvino.bin").unlink(), "openvino.bin: cannot be read"),
        (lambda folder: (folder / EXPORTS_FILE).write_text("{}"), "not a list of exports"),
        (lambda folder: (folder / EXPORTS_FILE).unlink(), "was never exported; run 'trainer export'"),
    ],
    ids=["graph replaced", "weights gone", "list damaged", "never exported"],
)
def test_an_export_that_is_not_what_was_checked_is_refused_by_name(make_artifact, damage, sentence):
    """OpenVINO would score with whatever lies there."""
    artifact = make_artifact()
    damage(artifact.folder)
    assert sentence in refusal(artifact, "openvino")


def test_an_export_of_another_model_is_refused(make_artifact):
    """A folder that was copied together."""
    artifact = make_artifact()
    path = artifact.folder / EXPORTS_FILE
    path.write_text(path.read_text().replace(artifact.sha256, "0" * 64))
    assert "lists exports of model 000000000000" in refusal(artifact, "openvino")


@pytest.mark.parametrize("runtime", ["auto", "openvino"])
def test_int8_without_an_export_is_refused_with_what_makes_it(make_artifact, runtime):
    """Falling back to float32 would store other scores than were requested."""
    sentence = "was not exported to openvino-int8; run 'trainer export --int8'"
    assert sentence in refusal(make_artifact(), runtime, "int8")


def test_int8_on_another_runtime_or_a_gpu_is_refused_with_the_one_that_computes_in_it(tmp_path, monkeypatch):
    """Before anything is loaded."""
    artifact, sentence = hash_artifact(tmp_path), "--precision int8: only OpenVINO on a CPU supports it"
    assert sentence in refusal(artifact, "keras", "int8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaa0")
    assert sentence in refusal(artifact, "auto", "int8")


def test_openvino_that_is_not_installed_is_one_sentence(make_artifact, monkeypatch):
    """It says how to install it, also where only the precision asks for it."""
    artifact = make_artifact()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for runtime, precision in (("openvino", "auto"), ("auto", "int8")):
        assert "not installed; run pip install 'nightread[openvino]'" in refusal(artifact, runtime, precision)


def refusal(artifact, runtime="keras", precision="auto"):
    with pytest.raises(UserError) as caught:
        open_scorer(artifact, runtime, precision)
    return str(caught.value)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_with_other_outputs_is_refused_with_both_counts(make_artifact, runtime):
    """Scores would land under the wrong findings."""
    sentence = refusal(make_artifact(findings=("Abnormal", "Effusion")), runtime)
    assert "the model has 3 outputs, its manifest promises 2" in sentence


@pytest.mark.parametrize(
    "rule",
    [Preprocessing(height=64, width=32), Preprocessing(height=32, width=32, color="bgr")],
    ids=["size", "colour"],
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_with_another_input_is_refused_with_both_shapes(make_artifact, rule, runtime):
    """Pixels of another shape were made for another model."""
    sentence = refusal(make_artifact(preprocessing=rule), runtime)
    assert "(32, 32, 1)" in sentence
    assert str(rule.shape) in sentence


@pytest.fixture(scope="module")
def float_file(keras_file):
    """The miniature as public models are: it takes floats from -1024 to 1024, as torchxrayvision scales pixels."""
    from worker.artifacts.keras_import import keras

    whole = keras.models.load_model(keras_file, compile=False)
    head = [keras.layers.Input((32, 32, 1)), keras.layers.Rescaling(1 / 1024)]
    path = keras_file.with_name("float.keras")
    keras.Sequential([*head, *whole.layers[1:]]).save(path)
    return path


SCALED = Preprocessing(height=32, width=32, rule=2, range=(-1024, 1024))


def load(artifact):
    from worker.artifacts.keras_model import load_keras_model

    return load_keras_model(artifact)


@pytest.fixture(scope="module")
def scaled_scores(float_file, pixels):
    """Keras' scores of the floats that torchxrayvision's `normalize` makes of the pixels."""
    from worker.artifacts.keras_import import keras

    floats = (2 * (pixels.astype(np.float32) / 255) - 1.0) * 1024
    return keras.models.load_model(float_file, compile=False).predict(floats, verbose=0)


def test_a_network_of_floats_gets_pixels_scaled_to_its_range(make_artifact, float_file, pixels, scaled_scores):
    """By Keras and by an export of the one loaded model, both of which take uint8 pixels."""
    artifact = make_artifact(float_file.read_bytes(), format_version=2, preprocessing=SCALED)
    model = load(artifact)
    assert (model.inputs[0].dtype, model.input_shape) == ("uint8", (None, 32, 32, 1))
    formats = write_formats(model, artifact.folder, pixels, batch_size=BATCH, tolerance=1e-4)
    write_exports(artifact.folder, artifact.sha256, formats)
    assert np.ptp(scaled_scores) > 0.3
    for runtime in RUNTIMES:
        scores = open_scorer(artifact, runtime, "float32").score(pixels)
        np.testing.assert_allclose(scores, scaled_scores, atol=1e-5)


def test_bfloat16_does_not_round_the_scaling_of_pixels(make_artifact, float_file, pixels, scaled_scores):
    """2048 / 255 is 8.03, of which bfloat16 makes 8."""
    from worker.artifacts.keras_import import keras
    from worker.scoring.runtimes.keras import _to_bfloat16

    model = load(make_artifact(float_file.read_bytes(), format_version=2, preprocessing=SCALED))
    _to_bfloat16(model)
    assert np.abs(model.predict(pixels, verbose=0) - scaled_scores).max() < 0.02
    scaled = keras.ops.convert_to_numpy(model.get_layer("range")(pixels))
    np.testing.assert_allclose(scaled, (2 * (pixels.astype(np.float32) / 255) - 1.0) * 1024, atol=1e-3)


def test_a_network_of_floats_without_a_range_gets_0_to_255(make_artifact, float_file, pixels):
    """From a model of uint8 pixels all the same, so that exports take what workers have."""
    from worker.artifacts.keras_import import keras

    rule = Preprocessing(height=32, width=32, rule=2)
    model = load(make_artifact(float_file.read_bytes(), format_version=2, preprocessing=rule))
    assert model.inputs[0].dtype == "uint8"
    expected = keras.models.load_model(float_file, compile=False).predict(pixels.astype(np.float32), verbose=0)
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, atol=1e-6)


def test_a_network_of_pixels_is_refused_if_the_manifest_scales_them(make_artifact):
    """It would see floats cut to bytes."""
    sentence = refusal(make_artifact(format_version=2, preprocessing=SCALED), "keras")
    assert "its network takes uint8 pixels, and the manifest scales them to -1024..1024; publish" in sentence


def test_a_network_of_floats_of_another_shape_is_refused_with_both_shapes(make_artifact, float_file):
    """The scaling in front does not hide it."""
    rule = Preprocessing(height=64, width=32, rule=2, range=(0, 1))
    sentence = refusal(make_artifact(float_file.read_bytes(), format_version=2, preprocessing=rule), "keras")
    assert "the model takes (32, 32, 1), its manifest promises (64, 32, 1)" in sentence


@pytest.mark.parametrize("keep", [0, 0.5, 0.95])
def test_a_damaged_model_file_is_refused_by_name(make_artifact, keras_file, keep):
    """Empty or cut off, though published so."""
    content = keras_file.read_bytes()
    sentence = refusal(make_artifact(content[: int(keep * len(content))]))
    assert f"{MODEL_FILE}: Keras" in sentence
    assert "cannot load it" in sentence


def test_a_model_file_that_was_replaced_since_it_was_verified_is_refused(make_artifact):
    """The loaded bytes are the verified ones, even if the file is replaced in between."""
    artifact = make_artifact()
    (artifact.folder / MODEL_FILE).write_bytes(b"other weights")
    assert f"{artifact.folder / MODEL_FILE}: damaged" in refusal(artifact)


def test_an_unknown_runtime_is_refused_beside_the_known_ones(tmp_path):
    """Before anything is loaded."""
    sentence = "--runtime tensorrt: unknown; use auto, openvino, keras or package.module:callable"
    assert sentence in refusal(hash_artifact(tmp_path), "tensorrt")


def test_the_runtime_of_earlier_versions_is_keras(make_artifact):
    """A fleet whose settings still say `tensorflow` goes on scoring after an upgrade."""
    assert open_scorer(make_artifact(), "tensorflow").runtime.startswith("keras ")


def test_a_runtime_of_ones_own_is_called_with_the_artifact(tmp_path):
    """`module:callable`, for runtimes that are not in the box."""
    artifact = hash_artifact(tmp_path)
    scorer = open_scorer(artifact, "tests.support.hash_scorer:HashScorer")
    assert type(scorer).__name__ == HashScorer.__name__
    assert scorer.findings == artifact.manifest.findings


@pytest.mark.parametrize("runtime", ["nowhere:Scorer", "tests.support.hash_scorer:Nothing"])
def test_a_misspelt_runtime_of_ones_own_is_refused_by_name(tmp_path, runtime):
    """A misspelt setting is reported in one sentence, without a traceback."""
    assert runtime in refusal(hash_artifact(tmp_path), runtime)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_padding_fills_up_with_black_scans_behind(count):
    """The batch has one size; its scans keep their places."""
    pixels = np.full((count, 4, 4, 1), 9, np.uint8)
    batch = pad_batch(pixels, 8)
    assert (batch.shape, batch.dtype) == ((8, 4, 4, 1), np.uint8)
    assert (batch[:count] == 9).all()
    assert (batch[count:] == 0).all()


@pytest.mark.parametrize(("visible", "warnings"), [("GPU-aaa0", 1), ("", 0)])
def test_a_gpu_that_keras_cannot_use_is_said(make_artifact, monkeypatch, caplog, visible, warnings):
    """A worker that was given a GPU and computes on the CPU would only look slow."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("worker.scoring.runtimes.keras.has_gpu", lambda: False)
    open_scorer(make_artifact(), "keras")
    assert caplog.text.count("cannot use this worker's GPU") == warnings


def test_a_model_that_brings_code_is_refused_unrun(make_artifact, tmp_path):
    """A Lambda layer holds Python bytecode. A hash identifies an artifact, but does not make its maker trustworthy."""
    from worker.artifacts.keras_import import keras

    model = keras.Sequential(
        [
            keras.layers.Input((32, 32, 1), dtype="uint8"),
            keras.layers.Rescaling(1.0),
            keras.layers.Lambda(lambda pixels, path=str(tmp_path / "mark"): (open(path, "w").close(), pixels)[1]),  # noqa: PTH123
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(FINDINGS), activation="sigmoid"),
        ]
    )
    model.save(tmp_path / MODEL_FILE)
    (tmp_path / "mark").unlink()
    with pytest.raises(UserError, match=r"model\.keras: Keras .* cannot load it: .*code execution") as caught:
        open_scorer(make_artifact((tmp_path / MODEL_FILE).read_bytes()), "keras")
    assert not (tmp_path / "mark").exists()
    assert "\n" not in str(caught.value)


def test_a_pickle_in_place_of_a_model_is_refused_unopened(make_artifact, tmp_path, monkeypatch):
    """So is HDF5, which older programs pickled into."""
    monkeypatch.chdir(tmp_path)
    for content in (b"cos\nmkdir\n(S'bomb'\ntR.", b"\x89HDF\r\n\x1a\n" + bytes(512)):
        with pytest.raises(UserError, match="cannot load it"):
            open_scorer(make_artifact(content), "keras")
        assert not (tmp_path / "bomb").exists()
