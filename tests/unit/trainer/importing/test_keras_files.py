"""Files that Keras 2 and Keras 3 write, and what a stranger may have done to them."""

import json
import re
import shutil
import zipfile

import h5py
import numpy as np
import pytest

from db.errors import UserError
from trainer.importing.weights.keras_file import read_keras_file
from trainer.network.encoders import build_encoder
from trainer.network.model import build_model
from trainer.recipe import make_recipe
from worker.artifacts.keras_import import keras

layers = keras.layers
SHAPE = (32, 32, 3)
OLD_NAMES = {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn"}


def with_random_weights(model):
    """Every weight random, so that no two layers can be taken for each other; variances are positive."""
    rng = np.random.default_rng(0)
    scales = {"kernel": 0.05, "moving_variance": 0.2}
    for layer in model.layers:
        for variable in layer.weights:
            values = rng.normal(0, scales.get(variable.name, 0.2), variable.shape)
            variable.assign(np.abs(values) + 0.5 if variable.name in {"gamma", "moving_variance"} else values)
    return model


@pytest.fixture(scope="module")
def encoder():
    return with_random_weights(build_encoder("densenet37", SHAPE))


@pytest.fixture(scope="module")
def flat(encoder):
    """As CheXNet-Keras makes it: the encoder's layers and the head are layers of one model."""
    return with_random_weights(
        keras.Model(encoder.inputs[0], layers.Dense(14, "sigmoid", name="predictions")(encoder.output))
    )


def nested_in(encoder, *, head="sigmoid", after=()):
    """The encoder as a layer of another model, with these layers between it and the dense layer."""
    pixels = keras.Input(SHAPE)
    features = encoder(pixels)
    for layer in after:
        features = layer(features)
    return keras.Model(pixels, layers.Dense(14, head, name="predictions")(features))


def write_legacy(path, model, *, nested=None, old_names=True, within="/"):
    """What `save_weights` of Keras 2 writes: a group a layer, named twice, and `:0` behind each name."""
    with h5py.File(path, "w") as file:
        group = file.require_group(within)
        group.attrs["layer_names"] = [layer.name for layer in model.layers]
        group.attrs["backend"] = "tensorflow"
        for layer in model.layers:
            name = OLD_NAMES.get(layer.name, layer.name) if old_names else layer.name
            own = group.require_group(nested if nested and layer.name != "predictions" else name)
            for variable in layer.weights:
                own[f"{name}/{variable.name}:0"] = np.asarray(variable)
    return path


def assert_same_scores(path, model):
    """Keras' own DenseNet with the file's weights gives the scores of the model that was saved."""
    weights = read_keras_file(path)
    built = build_encoder(weights.encoder, (*SHAPE[:2], weights.channels))
    for name, arrays in weights.layers.items():
        built.get_layer(name).set_weights(arrays)
    images = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    logits = np.asarray(built(images, training=False)) @ weights.kernel + weights.bias
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), np.asarray(model(images)), atol=1e-6)
    return weights


def assert_same_weights(path, encoder, head):
    """The file's weights are those of the encoder and of the dense layer, to the bit."""
    weights = read_keras_file(path)
    assert (weights.encoder, weights.channels) == ("densenet37", 3)
    expected = {layer.name: layer.get_weights() for layer in encoder.layers if layer.weights}
    assert list(weights.layers) == list(expected)
    for name, arrays in expected.items():
        for one, other in zip(weights.layers[name], arrays, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    for one, other in zip((weights.kernel, weights.bias), head.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def legacy(tmp_path_factory, flat):
    """What CheXNet-Keras published; tests must not change it."""
    return write_legacy(tmp_path_factory.mktemp("legacy") / "w.h5", flat)


@pytest.fixture
def copied(tmp_path, legacy):
    return shutil.copy(legacy, tmp_path / "w.h5")


def test_weights_of_keras_2_give_the_models_scores(legacy, flat):
    """The layout of CheXNet-Keras, to a millionth."""
    assert_same_scores(legacy, flat)


@pytest.mark.parametrize(
    "how",
    [
        {"old_names": False},
        {"within": "model_weights"},
        {"nested": "densenet37"},
        {"nested": "densenet37", "old_names": False, "within": "model_weights"},
    ],
    ids=str,
)
def test_every_layout_of_keras_2_is_read(tmp_path, encoder, flat, how):
    """Old and new names of layers, files of weights and of whole models, flat and nested."""
    path = write_legacy(tmp_path / "w.h5", flat, **how)
    assert_same_weights(path, encoder, flat.get_layer("predictions"))


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
@pytest.mark.parametrize("shape", ["flat", "nested", "sequential"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_hdf5_of_this_keras_is_read(tmp_path, encoder, flat, shape, suffix):
    """The encoder may be a layer of another model, beside a dropout layer."""
    nested = nested_in(encoder, after=[layers.Dropout(0.2)])
    sequential = keras.Sequential([encoder, layers.Dense(14, "sigmoid")])
    model = {"flat": flat, "nested": nested, "sequential": sequential}[shape]
    path = tmp_path / f"w{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    assert_same_weights(path, encoder, model.layers[-1])


def test_an_optimizers_moments_are_passed_over(tmp_path, encoder, flat):
    """They have the shapes of weights, and are in the files of a compiled model."""
    model = keras.Model(flat.inputs[0], flat.outputs[0])
    model.compile("adam", "binary_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.save_weights(tmp_path / "w.weights.h5")
    assert_same_weights(tmp_path / "w.weights.h5", encoder, flat.get_layer("predictions"))


@pytest.mark.variant
def test_an_archive_of_one_flat_model_is_read(tmp_path, encoder, flat):
    """The encoder's layers are then layers of the model, as in CheXNet-Keras."""
    flat.save(tmp_path / "w.keras")
    assert_same_weights(tmp_path / "w.keras", encoder, flat.get_layer("predictions"))


@pytest.mark.variant
def test_logits_are_a_head_too(tmp_path, encoder):
    """A published model scores with the sigmoid in either case."""
    logits = keras.Sequential([encoder, layers.Dense(14)])
    logits.save(tmp_path / "w.keras")
    assert_same_scores(
        tmp_path / "w.keras", keras.Model(logits.inputs[0], layers.Activation("sigmoid")(logits.outputs[0]))
    )


def test_another_epsilon_is_made_up_for(tmp_path):
    """Only the sum of variance and epsilon counts, and published models have the epsilon of Keras' DenseNets."""
    other = with_random_weights(build_encoder("densenet37", SHAPE))
    for layer in other.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.epsilon = 1e-3
    logits = nested_in(other, head="linear")
    model = keras.Model(logits.inputs[0], layers.Activation("sigmoid")(logits.outputs[0]))
    model.save(tmp_path / "w.keras")
    assert assert_same_scores(tmp_path / "w.keras", model).size == SHAPE[:2]


def refusal(path):
    """The sentence about a file: one line that begins with the file's path and has a remedy."""
    with pytest.raises(UserError) as refused:
        read_keras_file(path)
    sentence = str(refused.value)
    assert sentence.startswith(str(path))
    assert sentence.count("\n") == 0
    assert ";" in sentence
    return sentence.removeprefix(str(path))


def renamed(file, old, new):
    file.move(old, new)


def replaced(file, name, values):
    del file[name]
    file[name] = values


def with_value(file, name, value):
    values = file[name][()]
    values.flat[0] = value
    replaced(file, name, values)


def claimed(file, name, shape):
    """A dataset of a terabyte that has no bytes in the file."""
    del file[name]
    file.create_dataset(name, shape, "f4", chunks=True, compression="gzip")


CONV = "pool3_conv/pool3_conv/kernel:0"
KERNEL, BIAS = (f"predictions/predictions/{name}:0" for name in ("kernel", "bias"))
LAYER = "conv3_block2_1_conv"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda file: file.pop(LAYER), "lacks 1 of densenet37: the layer conv3_block2_1_conv; get the whole file"),
        (lambda file: file.pop("bn/bn/beta:0"), "the weight in its layer bn: beta"),
        (lambda file: renamed(file, "conv5_block4_0_bn", "conv5_block5_0_bn"), r"has blocks of \(4, 4, 4, 5\) layers"),
        (lambda file: file.pop("predictions"), "no dense layer behind densenet37.*trainer fit --weights FILE"),
        (lambda file: file.pop(BIAS), "the weight in predictions/predictions: bias"),
        (lambda file: file.update({"hidden/kernel:0": np.ones((248, 9))}), "hidden, .*a hidden dense layer cannot"),
        (lambda file: file.update({"scale/mean:0": np.ones(1)}), "has the layers .*scale.* only the dense layer can"),
        (lambda file: file.update({"conv1/conv/conv1/conv/bias:0": np.ones(64)}), "conv1_conv: bias that densenet37"),
        (lambda file: replaced(file, CONV, np.ones((1, 1, 224, 113))), "pool3_conv/kernel has shape 1x1x224x113, and"),
        (lambda file: replaced(file, KERNEL, np.ones((248, 13))), "kernel has shape 248x13, and 248x14 is needed"),
        (lambda file: replaced(file, CONV, np.ones((1, 1, 224, 112), int)), "pool3_conv/kernel holds int64"),
        (lambda file: replaced(file, CONV, 1.0), r"pool3_conv/kernel has shape \(\), and"),
        (lambda file: claimed(file, CONV, (512, 512, 1024, 1024)), "shape 512x512x1024x1024"),
        (lambda file: claimed(file, BIAS, (1 << 20, 1 << 20)), "no plain list of 1 to 10,000 biases"),
        (lambda file: with_value(file, CONV, np.nan), "pool3_conv/kernel has a value that is NaN or infinite"),
        (lambda file: replaced(file, BIAS, np.full(14, 1e300)), "bias has a value that is NaN or infinite"),
        (lambda file: with_value(file, "bn/bn/moving_variance:0", -1), "bn/moving_variance has a negative variance"),
        (
            lambda file: replaced(file, "conv1/conv/conv1/conv/kernel:0", np.ones((7, 7, 2, 64))),
            "one or three channels",
        ),
        (lambda file: file.update({"x/bn/beta:0": np.ones(248)}), "has bn/beta twice"),
        (lambda file: file.clear(), r"has blocks of \(0, 0, 0, 0\) layers"),
        (lambda file: file.update({"\x1b[2J/kernel:0": np.ones(1)}), r"x1b\[2J"),
    ],
)
def test_weights_that_contradict_a_densenet_are_one_sentence(copied, change, expected):
    """It names the layer, and says what to do."""
    with h5py.File(copied, "a") as file:
        change(file)
    assert re.search(expected, refusal(copied))


def virtual(file, name, source):
    layout = h5py.VirtualLayout((1, 1, 224, 112), "f4")
    layout[:] = h5py.VirtualSource(source, "values", (1, 1, 224, 112))
    file.create_virtual_dataset(name, layout)


def external(file, name, source):
    file.create_dataset(name, (1, 1, 224, 112), "f4", external=[(source, 0, h5py.h5f.UNLIMITED)])


def endless(file, name, _source):
    file[f"{name}/above"] = file["/"]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (lambda file, name, source: file.update({name: h5py.ExternalLink(source, "values")}), "is a link, or its"),
        (lambda file, name, _: file.update({name: h5py.SoftLink("/pool4_conv")}), "is a link, or its"),
        (virtual, "is a link, or its values are in another file"),
        (external, "is a link, or its values are in another file"),
        (endless, "nested 16 deep"),
    ],
)
def test_nothing_outside_the_file_is_read(tmp_path, copied, link, expected):
    """A link of any sort, in an array's place, would show a stranger what is in another file of this machine."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["values"] = np.ones((1, 1, 224, 112), "f4")
    with h5py.File(copied, "a") as file:
        del file[CONV]
        link(file, CONV, str(secret))
    assert expected in refusal(copied)


def test_nothing_outside_an_archive_is_read(tmp_path):
    """Its weights are such a file, too, which Keras would open by itself."""
    small(layers.Dense(1)).save(tmp_path / "w.keras")
    small(layers.Dense(1)).save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5", "a") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "values")
    path = with_file(tmp_path / "w.keras", "model.weights.h5", (tmp_path / "w.weights.h5").read_bytes())
    assert "layers/dense/vars/0 is a link" in refusal(path)


def small(*heads, dtype="float32"):
    """A network without a DenseNet, with these layers behind its features."""
    pixels = keras.Input(SHAPE, dtype=dtype)
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(pixels))
    for layer in heads:
        features = layer(features)
    return keras.Model(pixels, features)


def with_file(path, name, content):
    """A copy of an archive with another content of one file."""
    changed = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for item in source.namelist():
            target.writestr(item, content if item == name else source.read(item))
    return changed


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_damaged_file_is_one_sentence(tmp_path, legacy, suffix):
    """Cut anywhere, or not such a file at all, but a pickle."""
    path = tmp_path / f"w{suffix}"
    small(layers.Dense(1)).save(tmp_path / "w.keras")
    whole = (path if suffix == ".keras" else legacy).read_bytes()
    for share in (0, 0.01, 0.5, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        refusal(path)
    path.write_bytes(b"\x80\x04K\x01." * 100)
    refusal(path)


def test_changed_bytes_never_end_in_a_traceback(tmp_path, legacy):
    """Whatever byte of HDF5's structures is another one: the weights are read, or there is one sentence."""
    path, whole, rng = tmp_path / "w.h5", legacy.read_bytes(), np.random.default_rng(0)
    for _ in range(12):
        changed = bytearray(whole)
        for place in rng.integers(0, 60_000, 20):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read_keras_file(path)
        except UserError as error:
            assert str(error).startswith(str(path))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: small(layers.Rescaling(1 / 255), layers.Dense(1)), "(Rescaling), and the description"),
        (lambda: small(layers.Normalization(), layers.Dense(1)), "(Normalization), and the description"),
        (lambda: small(layers.GaussianNoise(1.0), layers.Dense(1)), "a layer of the kind GaussianNoise"),
        (lambda: small(layers.Dense(9), layers.Dense(1)), "has 2 dense layers"),
        (small, "has 0 dense layers"),
        (lambda: small(layers.Dense(2, "softmax")), "(softmax); only sigmoid and logits"),
        (lambda: small(layers.Dense(2), layers.Activation("softmax")), "(linear, softmax); only sigmoid and logits"),
        (lambda: small(layers.Dense(1), layers.Dropout(0.5)), "not the sigmoid of one dense layer (linear)"),
        (lambda: small(layers.Dense(1), dtype="uint8"), "takes uint8 and no float32 pixels"),
        (lambda: small(layers.Dense(1)), "has 1 convolutions"),
    ],
)
def test_another_network_than_a_densenet_and_a_head_is_one_sentence(tmp_path, build, expected):
    """Its layers would be lost, and its scores would be others."""
    build().save(tmp_path / "w.keras")
    assert expected in refusal(tmp_path / "w.keras")


def test_a_densenets_layers_that_compute_something_else_are_refused(tmp_path, encoder):
    """Here an activation between features and head, which shows in no weight."""
    nested_in(encoder, after=[layers.Activation("tanh")]).save(tmp_path / "w.keras")
    assert "computes something else" in refusal(tmp_path / "w.keras")


def test_a_configuration_with_foreign_code_is_refused_before_keras_sees_it(tmp_path):
    """Keras' safe mode would refuse most of it, too; this needs no trust in that."""
    small(layers.Dense(1)).save(tmp_path / "w.keras")
    with zipfile.ZipFile(tmp_path / "w.keras") as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][-1]["config"]["activation"] = {
        "module": "os", "class_name": "function", "config": "system", "registered_name": "system",
    }  # fmt: skip
    path = with_file(tmp_path / "w.keras", "config.json", json.dumps(config))
    assert "uses code that is not Keras' own (os)" in refusal(path)


def test_our_own_models_are_better_published(tmp_path):
    """Their manifest has what a description cannot say; a copy without its manifest is known by its layers."""
    build_model(make_recipe("best", encoder="densenet37", size=32), ["Mass"]).save(tmp_path / "model.keras")
    assert "'trainer fit'" in refusal(tmp_path / "model.keras")
    assert "'producer model publish'" in refusal(tmp_path / "model.keras")
    small(layers.Dense(1)).save(tmp_path / "other.keras")
    (tmp_path / "manifest.json").write_text("{}")
    assert "beside a manifest.json" in refusal(tmp_path / "other.keras")


def test_a_missing_file_is_one_sentence(tmp_path):
    """Of either kind."""
    for name in ("w.h5", "w.keras"):
        assert "No such file" in refusal(tmp_path / name)
