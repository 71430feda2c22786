"""The model's own scaling of pixels keeps its precision."""

import pytest

from trainer.network.model import build_model
from trainer.recipe import make_recipe
from worker.artifacts.keras_model import RANGE_LAYER
from worker.scoring.runtimes.keras import _to_bfloat16


@pytest.mark.parametrize("choice", [{"range": (-1024, 1024)}, {"scaling": "imagenet"}], ids=str)
def test_pixels_are_scaled_in_float32_where_workers_compute_in_bfloat16(choice):
    """Its factors have more digits than bfloat16 keeps."""
    model = build_model(make_recipe("best", encoder="densenet37", size=32, **choice), ["Mass"])
    _to_bfloat16(model)
    assert model.get_layer(RANGE_LAYER).compute_dtype == "float32"
    assert model.get_layer("densenet37").get_layer("conv1_conv").compute_dtype == "bfloat16"
