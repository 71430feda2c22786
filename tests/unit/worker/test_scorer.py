"""A scan's scores depend on its pixels alone, and a model that is not what its manifest says does not load."""

import numpy as np
import pytest
from hash_scorer import HashScorer
from world import hash_artifact, radiograph

from db.errors import UserError
from worker.artifact import publish
from worker.manifest import MODEL_FILE, SPLIT_FILE, Manifest, Preprocessing
from worker.scorer import open_scorer, padded

FINDINGS = ("Abnormal", "Effusion", "Hernia")
BATCH = 32


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """A real model in miniature: rescaling, convolutions with batch normalisation, sigmoids."""
    import keras

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


@pytest.fixture
def make_artifact(tmp_path, keras_file):
    """Publish the miniature (or other bytes) under a manifest that may promise something else."""

    def make_artifact(content=None, **promises):
        staging = tmp_path / "staging"
        staging.mkdir()
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
        return publish(staging, tmp_path / "models", Manifest(**fields))

    return make_artifact


@pytest.fixture
def scorer(make_artifact):
    return open_scorer(make_artifact())


@pytest.fixture
def pixels():
    return np.stack([radiograph(number, side=32)[:, :, np.newaxis] for number in range(BATCH)])


def test_a_scan_alone_scores_bitwise_as_among_thirty_one_others_in_any_place(scorer, pixels):
    """Retried alone after a fault, it must get the very scores of the fault-free run."""
    whole = scorer.score(pixels)
    for place in range(0, BATCH, 5):
        assert (scorer.score(pixels[place : place + 1])[0] == whole[place]).all()
        assert (scorer.score(np.roll(pixels, place, axis=0)) == np.roll(whole, place, axis=0)).all()
    assert (scorer.score(pixels[:7]) == whole[:7]).all()


def test_each_pass_has_the_one_batch_size(scorer, pixels, monkeypatch):
    """Large models compute a batch of 1 by other kernels, with other last bits; miniatures like this one do not."""
    rows, forward = [], scorer._forward
    monkeypatch.setattr(scorer, "_forward", lambda batch: rows.append(len(batch)) or forward(batch))
    for count in (1, 31, 32):
        assert len(scorer.score(pixels[:count])) == count
    assert rows == [BATCH] * 3


def test_scores_are_what_keras_itself_computes(scorer, pixels, keras_file):
    """Freezing and folding change the last bits at most."""
    import keras

    scores = scorer.score(pixels)
    assert (scores.dtype, scores.shape) == (np.float32, (BATCH, len(FINDINGS)))
    assert np.abs(scores - keras.models.load_model(keras_file, compile=False).predict(pixels, verbose=0)).max() < 1e-5
    # The comparison says something only where scans differ.
    assert (scores.std(axis=0) > 1e-4).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_a_scorer_says_what_it_is(scorer):
    """Recorded with every outcome."""
    import tensorflow as tf

    assert (scorer.findings, scorer.batch_size) == (FINDINGS, BATCH)
    assert (scorer.runtime, scorer.precision) == (f"tensorflow {tf.__version__}", "float32")


@pytest.mark.parametrize("runtime", ["auto", "tensorflow"])
def test_auto_is_tensorflow(make_artifact, runtime):
    """Until another runtime is chosen by measurement."""
    assert type(open_scorer(make_artifact(), runtime)).__name__ == "TensorflowScorer"


def refusal(artifact, runtime="auto"):
    with pytest.raises(UserError) as caught:
        open_scorer(artifact, runtime)
    return str(caught.value)


def test_a_model_with_other_outputs_is_refused_with_both_counts(make_artifact):
    """Scores would land under the wrong findings."""
    sentence = refusal(make_artifact(findings=("Abnormal", "Effusion")))
    assert f"{MODEL_FILE}: the model has 3 outputs, its manifest promises 2" in sentence


@pytest.mark.parametrize(
    "rule",
    [Preprocessing(height=64, width=32), Preprocessing(height=32, width=32, color="bgr")],
    ids=["size", "colour"],
)
def test_a_model_with_another_input_is_refused_with_both_shapes(make_artifact, rule):
    """Pixels made for another model are none for this one."""
    sentence = refusal(make_artifact(preprocessing=rule))
    assert "(32, 32, 1)" in sentence
    assert str(rule.shape) in sentence


@pytest.mark.parametrize("keep", [0, 0.5, 0.95])
def test_a_damaged_model_file_is_refused_by_name(make_artifact, keras_file, keep):
    """Empty or cut off, though published so."""
    content = keras_file.read_bytes()
    sentence = refusal(make_artifact(content[: int(keep * len(content))]))
    assert f"{MODEL_FILE}: Keras" in sentence
    assert "cannot load it" in sentence


def test_a_model_file_that_was_replaced_since_it_was_verified_is_refused(make_artifact):
    """What is loaded is what was hashed, not what lies there by then."""
    artifact = make_artifact()
    (artifact.folder / MODEL_FILE).write_bytes(b"other weights")
    assert f"{artifact.folder / MODEL_FILE}: damaged" in refusal(artifact)


def test_an_unknown_runtime_is_refused_beside_the_known_ones(tmp_path):
    """Before anything is loaded."""
    assert "--runtime tensorrt: this program knows auto and tensorflow" in refusal(hash_artifact(tmp_path), "tensorrt")


def test_a_runtime_of_ones_own_is_called_with_the_artifact(tmp_path):
    """`module:callable`, for runtimes that are not in the box."""
    artifact = hash_artifact(tmp_path)
    scorer = open_scorer(artifact, "hash_scorer:HashScorer")
    assert type(scorer).__name__ == HashScorer.__name__
    assert scorer.findings == artifact.manifest.findings


@pytest.mark.parametrize("runtime", ["nowhere:Scorer", "hash_scorer:Nothing"])
def test_a_misspelt_runtime_of_ones_own_is_refused_by_name(tmp_path, runtime):
    """It is the person's mistake, not a bug."""
    assert runtime in refusal(hash_artifact(tmp_path), runtime)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_padding_fills_up_with_black_scans_behind(count):
    """The batch has one size; its scans keep their places."""
    pixels = np.full((count, 4, 4, 1), 9, np.uint8)
    batch = padded(pixels, 8)
    assert (batch.shape, batch.dtype) == ((8, 4, 4, 1), np.uint8)
    assert (batch[:count] == 9).all()
    assert (batch[count:] == 0).all()


@pytest.mark.parametrize(("visible", "warnings"), [("GPU-aaa0", 1), ("", 0)])
def test_a_gpu_that_tensorflow_cannot_use_is_said(make_artifact, monkeypatch, caplog, visible, warnings):
    """A worker that was given a GPU and computes on the CPU would only look slow."""
    import tensorflow as tf

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: [])
    open_scorer(make_artifact())
    assert caplog.text.count("cannot use the GPU") == warnings


def test_a_model_that_brings_code_is_refused_unrun(make_artifact, tmp_path):
    """A Lambda layer is Python's bytecode: a hash says which artifact it is, not that its maker is to be trusted."""
    import keras

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
        open_scorer(make_artifact((tmp_path / MODEL_FILE).read_bytes()))
    assert not (tmp_path / "mark").exists()
    assert "\n" not in str(caught.value)


def test_a_pickle_in_place_of_a_model_is_refused_unopened(make_artifact, tmp_path, monkeypatch):
    """So is HDF5, which older programs pickled into."""
    monkeypatch.chdir(tmp_path)
    for content in (b"cos\nmkdir\n(S'bomb'\ntR.", b"\x89HDF\r\n\x1a\n" + bytes(512)):
        with pytest.raises(UserError, match="cannot load it"):
            open_scorer(make_artifact(content))
        assert not (tmp_path / "bomb").exists()
