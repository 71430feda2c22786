from collections import Counter
from typing import get_args

import keras
import numpy as np
import pytest

from db.errors import UserError
from trainer.fit_command import Encoder
from trainer.network.encoders import DENSENETS, ENCODERS, build_encoder
from trainer.network.model import LOGITS, build_model
from trainer.recipe import make_recipe


def test_densenet121_has_the_parameters_of_the_paper():
    """7,037,504 with average pooling at three channels; the convolution at the top is a third as deep at one."""
    assert build_encoder("densenet121", (224, 224, 3)).count_params() == 7_037_504
    assert build_encoder("densenet121", (224, 224, 1)).count_params() == 7_037_504 - 2 * 7 * 7 * 64


def test_the_report_has_its_head():
    """Dense 512 on 1,024 features, then one score."""
    model = build_model(make_recipe("report"), ("Abnormal",))
    assert model.get_layer("hidden").count_params() == 524_800
    assert model.get_layer(LOGITS).count_params() == 513
    assert model.get_layer("densenet121").count_params() == 7_037_504


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "densenet121" else [pytest.mark.slow])
        for name in DENSENETS
        if name != "densenet37"
    ],
)
def test_a_densenet_has_the_layers_of_the_papers_table(name):
    """Two convolutions a dense layer, one a transition, one at the top; a pooling after the top and each transition.

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
def test_what_layers_normalise_by_lags_as_averaged_weights_do(averaging, momentum):
    """Statistics of later weights than those that are judged would shift every score."""
    encoder = build_encoder("densenet37", (32, 32, 1), averaging=averaging)
    kinds = {layer.momentum for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert kinds == {momentum}


def test_an_unknown_encoder_is_refused():
    """With the names of those that there are."""
    with pytest.raises(UserError, match="densenet121"):
        build_encoder("vgg", (64, 64, 1))


def test_the_command_line_offers_the_encoders_that_there_are():
    """It names them without importing Keras, so the two lists could drift apart."""
    assert get_args(Encoder) == ENCODERS


def test_a_fit_can_begin_from_an_artifacts_weights(tmp_path):
    """The encoder's own, whatever it scored."""
    first = build_model(make_recipe("best", encoder="densenet37", size=32, weights="none", color="bgr"), ("Mass",))
    first.save(tmp_path / "model.keras")
    wished = make_recipe("best", encoder="densenet37", size=32, seed=1, weights=str(tmp_path / "model.keras"))
    second = build_model(wished, ("Abnormal", "Effusion"))
    for one, other in zip(_encoder(first).get_weights(), _encoder(second).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("weights", "encoder", "sentence"),
    [
        ("nowhere.h5", "densenet37", r"nowhere\.h5: no such file"),
        (__file__, "densenet37", "holds no weights of densenet37"),
        ("imagenet", "densenet264", "there are none for densenet264"),
    ],
)
def test_weights_that_cannot_be_had_are_one_sentence(weights, encoder, sentence):
    """Naming what was asked for."""
    with pytest.raises(UserError, match=sentence):
        build_encoder(encoder, (32, 32, 3), weights)


def test_without_a_network_imagenet_is_one_sentence_that_names_the_file_option(monkeypatch, tmp_path):
    """Many hospitals' machines see no internet."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(UserError, match="--weights FILE"):
        build_encoder("densenet121", (32, 32, 3), "imagenet")


@pytest.mark.parametrize("encoder", ["densenet37", "resnet50"])
@pytest.mark.parametrize("color", ["gray", "bgr"])
def test_imagenet_scaling_is_keras_own(encoder, color):
    """What `preprocess_input` makes of the same RGB pixels."""
    from trainer.network.encoders import as_on_imagenet

    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    if color == "gray":
        pixels[..., 1:] = pixels[..., :1]
    module = keras.applications.resnet if encoder == "resnet50" else keras.applications.densenet
    expected = module.preprocess_input(pixels[..., ::-1].copy())
    given = pixels[..., :1] if color == "gray" else pixels
    np.testing.assert_allclose(keras.ops.convert_to_numpy(as_on_imagenet(given, encoder)), expected, atol=1e-4)


def test_gray_pixels_may_be_scaled_as_on_imagenet_by_a_network_that_begins_from_nothing():
    """It then has the three channels that the scaling gives."""
    model = build_model(make_recipe("best", encoder="densenet37", size=32, scaling="imagenet"), ["Mass"])
    assert _encoder(model).input_shape[-1] == 3
    assert model(np.zeros((2, 32, 32, 1), np.uint8)).shape == (2, 1)


@pytest.mark.slow
def test_a_model_that_scales_as_on_imagenet_survives_the_file(tmp_path):
    """What was saved scores as before."""
    recipe = make_recipe("best", encoder="densenet37", size=32, scaling="imagenet", color="bgr")
    model = build_model(recipe, ("Abnormal",))
    model.save(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(pixels, verbose=0), loaded.predict(pixels, verbose=0))


def _encoder(model):
    return model.get_layer("densenet37")
