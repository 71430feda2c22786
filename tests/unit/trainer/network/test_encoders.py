from collections import Counter
from typing import get_args

import numpy as np
import pytest

from db.errors import UserError
from trainer.network.encoders import DENSENETS, ENCODERS, build_encoder
from trainer.network.model import LOGITS, build_model
from trainer.recipe import make_recipe
from trainer.recipe_flags import EncoderName
from worker.artifacts.keras_import import keras


def test_densenet121_has_the_parameters_of_the_paper():
    """7,037,504 with average pooling and three channels; with one channel the first convolution is a third as deep."""
    assert build_encoder("densenet121", (224, 224, 3)).count_params() == 7_037_504
    assert build_encoder("densenet121", (224, 224, 1)).count_params() == 7_037_504 - 2 * 7 * 7 * 64


def test_the_report_has_the_mini_projects_head():
    """A dense layer of 512 units on 1,024 features, then one score."""
    model = build_model(make_recipe("report"), ("Abnormal",))
    assert model.get_layer("hidden").count_params() == 524_800
    assert model.get_layer(LOGITS).count_params() == 513
    assert model.get_layer("densenet121").count_params() == 7_037_504


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "densenet121" else [pytest.mark.variant])
        for name in DENSENETS
        if name != "densenet37"
    ],
)
def test_a_densenet_has_the_layers_of_the_papers_table(name):
    """Two convolutions per dense layer, one per transition, one first; a pooling after the first and each transition.

    Source: Huang et al., Densely Connected Convolutional Networks, CVPR 2017, table 1. The depth in a name counts the
    classifier too, but the paper's 264 has 265 such layers by its own table.
    """
    paper = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32), "densenet201": (6, 12, 48, 32)}
    paper["densenet264"] = (6, 12, 64, 48)
    layers_by_name = {name: int(name.removeprefix("densenet")) - 1 for name in paper} | {"densenet264": 264}
    encoder = build_encoder(name, (64, 64, 1))
    kinds = Counter(type(layer).__name__ for layer in encoder.layers)
    dense, transitions = sum(paper[name]), 3
    assert kinds["Conv2D"] == 1 + 2 * dense + transitions == layers_by_name[name]
    assert (kinds["MaxPooling2D"], kinds["AveragePooling2D"], kinds["GlobalAveragePooling2D"]) == (1, transitions, 1)
    sizes = Counter(layer.kernel_size for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D))
    assert sizes == {(7, 7): 1, (1, 1): dense + transitions, (3, 3): dense}


@pytest.mark.parametrize(("averaging", "momentum"), [(0.0, 0.9), (0.5, 0.9), (0.99, 0.99)])
def test_batch_normalization_lags_as_averaged_weights_do(averaging, momentum):
    """Statistics of later weights than the validated ones would shift every score."""
    encoder = build_encoder("densenet37", (32, 32, 1), averaging=averaging)
    kinds = {layer.momentum for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert kinds == {momentum}


def test_an_unknown_encoder_is_refused():
    """The sentence names the known ones."""
    with pytest.raises(UserError, match="densenet121"):
        build_encoder("vgg", (64, 64, 1))


def test_the_command_line_offers_every_encoder():
    """It has a list of its own, because an import of Keras would slow `--help` down."""
    assert get_args(EncoderName) == ENCODERS


def test_a_fit_can_start_from_an_artifacts_weights(tmp_path):
    """Only the encoder's are taken, so the findings may be others."""
    first = build_model(make_recipe("best", encoder="densenet37", size=32, weights="none", color="bgr"), ("Mass",))
    first.save(tmp_path / "model.keras")
    recipe = make_recipe("best", encoder="densenet37", size=32, seed=1, weights=str(tmp_path / "model.keras"))
    second = build_model(recipe, ("Abnormal", "Effusion"))
    for one, other in zip(_encoder(first).get_weights(), _encoder(second).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("weights", "encoder", "sentence"),
    [
        ("nowhere.h5", "densenet37", r"nowhere\.h5: no such file"),
        (__file__, "densenet37", "does not hold the weights of densenet37"),
        ("imagenet", "densenet264", "Keras has none for densenet264"),
    ],
)
def test_weights_that_cannot_be_loaded_are_one_sentence(weights, encoder, sentence):
    """The sentence names what was asked for."""
    with pytest.raises(UserError, match=sentence):
        build_encoder(encoder, (32, 32, 3), weights)


def test_without_a_network_imagenet_is_one_sentence_that_names_the_file_option(monkeypatch, tmp_path):
    """Many hospitals' machines have no internet access."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(UserError, match="--weights FILE"):
        build_encoder("densenet121", (32, 32, 3), "imagenet")


@pytest.mark.parametrize("encoder", ["densenet37", "resnet50"])
@pytest.mark.parametrize("color", ["gray", "bgr"])
def test_imagenet_scaling_is_keras_own(encoder, color):
    """The result is that of `preprocess_input` for the same RGB pixels."""
    from trainer.network.encoders import scale_for_imagenet

    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    if color == "gray":
        pixels[..., 1:] = pixels[..., :1]
    module = keras.applications.resnet if encoder == "resnet50" else keras.applications.densenet
    expected = module.preprocess_input(pixels[..., ::-1].copy())
    given = pixels[..., :1] if color == "gray" else pixels
    np.testing.assert_allclose(keras.ops.convert_to_numpy(scale_for_imagenet(given, encoder)), expected, atol=1e-4)


def test_gray_pixels_may_be_scaled_for_imagenet_without_its_weights():
    """The encoder then has three channels, because the scaling makes three."""
    model = build_model(make_recipe("best", encoder="densenet37", size=32, scaling="imagenet"), ["Mass"])
    assert _encoder(model).input_shape[-1] == 3
    assert model(np.zeros((2, 32, 32, 1), np.uint8)).shape == (2, 1)


def test_a_model_that_scales_for_imagenet_can_be_saved_and_loaded(tmp_path):
    """The loaded model gives the same scores."""
    recipe = make_recipe("best", encoder="densenet37", size=32, scaling="imagenet", color="bgr")
    model = build_model(recipe, ("Abnormal",))
    model.save(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(pixels, verbose=0), loaded.predict(pixels, verbose=0))


def _encoder(model):
    return model.get_layer("densenet37")
