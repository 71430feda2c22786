"""A map shows where a logit came from: its cells and the bias add up to what the model's own head computes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.world import radiograph
from trainer.fitting.calibrate import Calibration, fold_calibrations
from trainer.network.model import LOGITS, build_model
from trainer.publishing.publish import write_artifact
from trainer.recipe import make_recipe
from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import load_keras_model
from worker.artifacts.manifest import Manifest
from worker.artifacts.model_store import FolderModelStore
from worker.images.preprocessing import Preprocessing
from worker.scoring.activation_map import ActivationMapper, load_activation_mapper
from worker.scoring.network_head import NoActivationMap

layers = keras.layers
FINDINGS = ("Abnormal", "Mass", "Effusion")
SIDE = 64
PIXELS = radiograph(3, side=SIDE)[:, :, np.newaxis]


@pytest.fixture
def published(tmp_path):
    """Publishes a network as an artifact: with a manifest of format 2, as fits and imports write."""

    def published(network, findings=FINDINGS, **rule):
        preprocessing = Preprocessing(rule=2, height=SIDE, width=SIDE, **rule)
        manifest = Manifest(format_version=2, name="m", findings=findings, preprocessing=preprocessing, dataset="d")
        return write_artifact(network, manifest, split=(), models=FolderModelStore(tmp_path))

    return published


@pytest.fixture(scope="module")
def maps():
    """Those of a small network without calibration."""
    return ActivationMapper(head_of(average(), *named_head()), FINDINGS).maps(PIXELS)


def randomize(dense):
    rng = np.random.default_rng(5)
    dense.set_weights([rng.normal(0, 1, array.shape) for array in dense.get_weights()])


def scores_of(model):
    return keras.ops.convert_to_numpy(model(PIXELS[np.newaxis], training=False))[0]


def check(maps, scores):
    """The maps are those of a model that gives these scores."""
    assert maps.agrees
    sums = maps.cells.mean(axis=(1, 2)) + maps.bias
    assert np.abs(sums - maps.logits).max() <= 1e-5 * np.abs(maps.cells).max()
    assert (maps.logits.dtype, maps.scores.dtype, maps.cells.dtype) == (np.float32, np.float32, np.float64)
    np.testing.assert_allclose(maps.scores, scores, atol=1e-6)
    assert len(maps.findings) == len(maps.cells) == len(maps.bias) == len(maps.logits)


def test_the_maps_of_a_fit_add_up_to_its_logits(published):
    """For every finding of a DenseNet as `trainer fit` publishes it, and the scores are the model's own."""
    model = build_model(make_recipe("best", encoder="densenet37", size=SIDE), FINDINGS)
    randomize(model.get_layer(LOGITS))
    maps = load_activation_mapper(published(model)).maps(PIXELS)
    check(maps, scores_of(model))
    assert maps.findings == FINDINGS
    assert maps.cells.shape == (3, SIDE // 32, SIDE // 32)
    assert maps.cells.std(axis=(1, 2)).min() > 0


def test_the_maps_of_a_model_whose_manifest_scales_the_pixels_add_up_to_its_logits(published):
    """As imported models are: the network takes float32, and lies behind the scaling."""
    artifact = published(head_of(average(), *named_head(), dtype="float32"), range=(-1024, 1024))
    model = load_keras_model(artifact)
    assert [layer.name for layer in model.layers][:2] == ["pixels", "range"]
    check(load_activation_mapper(artifact).maps(PIXELS), scores_of(model))


def test_a_temperature_scales_the_map_as_it_scales_the_logit():
    """Calibration lies in the dense layer, so nothing else is needed."""
    model = head_of(average(), *named_head())
    before = ActivationMapper(model, FINDINGS).maps(PIXELS)
    temperatures = (2.0, 0.5, 1.0)
    fold_calibrations(model, [Calibration(shift=0.25, temperature=one) for one in temperatures])
    after = ActivationMapper(model, FINDINGS).maps(PIXELS)
    check(after, scores_of(model))
    np.testing.assert_allclose(after.cells, before.cells / np.reshape(temperatures, (3, 1, 1)), rtol=1e-5)
    assert np.abs(after.scores - before.scores).min() > 1e-3


def test_the_check_fails_for_the_map_of_another_finding(maps):
    """Else it would prove nothing of the map that is shown."""
    assert maps.agrees
    assert not replace(maps, cells=np.roll(maps.cells, 1, axis=0)).agrees
    assert not replace(maps, cells=maps.cells * (1 + 1e-4), bias=maps.bias * (1 + 1e-4)).agrees
    assert not replace(maps, logits=np.full(3, np.nan, np.float32)).agrees


def head_of(*after_features, features=None, dtype="uint8"):
    """A network of one convolution with these layers behind it."""
    keras.utils.set_random_seed(5)
    convolutions = features or [layers.Conv2D(4, 3, strides=4, activation="relu")]
    model = keras.Sequential([layers.Input(PIXELS.shape, dtype=dtype), layers.Rescaling(1 / 255), *convolutions])
    for layer in after_features:
        model.add(layer)
    return model


def named_head():
    """The head of a fit, with random weights."""
    return layers.Dense(3, name=LOGITS, bias_initializer="normal"), layers.Activation("sigmoid")


def within(model):
    """The model within another, as a layer."""
    pixels = keras.Input(PIXELS.shape, dtype="uint8")
    return keras.Model(pixels, layers.Identity()(model(layers.Identity()(pixels))))


def average(**options):
    return layers.GlobalAveragePooling2D(**options)


def sigmoids():
    return layers.Dense(3, activation="sigmoid")


HEADS = {
    "sigmoid in the dense layer": lambda: head_of(average(), layers.Dropout(0.5), sigmoids()),
    "without bias": lambda: head_of(average(), layers.Dense(3, use_bias=False), layers.Activation("sigmoid")),
    "flattened": lambda: head_of(average(), layers.Flatten(), sigmoids()),
    "model in a model in a model": lambda: within(within(head_of(average(), sigmoids()))),
    "encoder with its pooling": lambda: head_of(
        sigmoids(), features=[keras.Sequential([layers.Conv2D(4, 3, strides=4), average()])]
    ),
}


@pytest.mark.parametrize("head", HEADS)
def test_other_forms_of_the_same_head_have_maps(head):
    """As they occur in models that were not fitted here."""
    model = HEADS[head]()
    check(ActivationMapper(model, FINDINGS).maps(PIXELS), scores_of(model))


REFUSED = {
    "hidden layer": lambda: head_of(average(), layers.Dense(8, activation="relu"), sigmoids()),
    "by itself": lambda: head_of(layers.Flatten(), sigmoids()),
    "GlobalMaxPooling2D": lambda: head_of(layers.GlobalMaxPooling2D(), sigmoids()),
    "LayerNormalization": lambda: head_of(average(), layers.LayerNormalization(), sigmoids()),
    "not the sigmoids": lambda: head_of(average(), layers.Dense(3, activation="softmax")),
    "not the sigmoids of one": lambda: head_of(
        average(), layers.Dense(3, activation="relu"), layers.Activation("sigmoid")
    ),
    "bfloat16": lambda: head_of(average(dtype="mixed_bfloat16"), sigmoids()),
}


@pytest.mark.parametrize("words", REFUSED)
def test_another_head_has_no_map_and_the_sentence_says_why(words):
    """A picture that did not add up to the logit would be an invention."""
    with pytest.raises(NoActivationMap, match=rf"^this model has no activation maps, because .*{words}"):
        ActivationMapper(REFUSED[words](), FINDINGS)


def test_a_cell_lies_where_its_part_of_the_film_lies():
    """Row 0 is the top and column 0 the left: with features that are the film's own blocks, the map is the film."""
    model = head_of(average(), sigmoids(), features=[layers.AveragePooling2D(16)])
    model.layers[-1].set_weights([np.array([[1.0, -1.0, 2.0]]), np.zeros(3)])
    maps = ActivationMapper(model, FINDINGS).maps(PIXELS)
    blocks = PIXELS.reshape(4, 16, 4, 16).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(maps.cells, np.stack([blocks, -blocks, 2 * blocks]), rtol=1e-5)


def test_pixels_of_another_shape_are_refused():
    """Keras would broadcast or resize some of them."""
    with pytest.raises(ValueError, match=r"pixels are uint8 \(64, 64, 3\), and the model takes uint8 \(64, 64, 1\)"):
        ActivationMapper(head_of(average(), sigmoids()), FINDINGS).maps(np.repeat(PIXELS, 3, axis=2))
