"""Imported networks compute what PyTorch and torchxrayvision compute, on DenseNet121s with random weights."""

import json

import numpy as np

from tests.support import torch_reference
from tests.torch.conftest import TXV_NAME
from tests.torch.programs import gray_pixels, op_norm, run_publisher, sigmoid

#: In float32, two programs that sum in another order differ by a few millionths of a logit.
TOLERANCE = 1e-5


def test_logits_of_an_imported_network_are_those_of_its_publisher(drawn):
    """On the pixels that the publisher's own code makes of uint8 images, for every output that has a name."""
    expected = published(drawn, "logits")
    difference = np.abs(drawn.logits - expected).max()
    print(
        f"\n{drawn.layout}: largest difference of {expected.size} logits (deviation {expected.std():.2f}):"
        f" {difference:.1e}"
    )
    assert expected.std() > 0.3
    assert difference <= TOLERANCE


def test_scores_on_the_publishers_scale_are_the_publishers(drawn):
    """What torchxrayvision returns is normalized by its thresholds, which the manifest has."""
    scores = sigmoid(drawn.logits)
    if drawn.layout == "torchxrayvision":
        thresholds = drawn.imported.artifact.manifest.thresholds
        scores = op_norm(scores, np.array([thresholds[name]["published"] for name in drawn.imported.findings]))
    assert np.abs(scores - published(drawn, "outputs")).max() <= TOLERANCE


def test_pixels_of_nightread_are_near_the_publishers(drawn):
    """A worker rounds to 256 gray levels and averages areas, so its pixels differ by half a level."""
    black, white = drawn.imported.rule.range
    own, theirs = drawn.imported.own_pixels(drawn.images), gray_pixels(drawn.folder)
    levels = np.abs(own - theirs) * 255 / (white - black)
    print(
        f"\n{drawn.layout}: gray levels of 256 that pixels differ by: mean {levels.mean():.2f}, max {levels.max():.0f}"
    )
    assert levels.mean() < 1


def test_the_recorded_reference_is_what_pytorch_computes(tmp_path):
    """The unit tests compare with logits that were recorded, so these must be current."""
    run_publisher("-m", "tests.torch.record_reference", tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert again.keys() == torch_reference.LAYOUTS.keys()
    for name, layout in torch_reference.LAYOUTS.items():
        assert np.abs(np.array(again[name]) - torch_reference.recorded_logits(layout)).max() <= TOLERANCE


def published(drawn, kind):
    """The publisher's figures of the outputs that have a name, in the order of the manifest's findings."""
    with np.load(drawn.folder / "logits.npz") as file:
        found = file[kind]
    if drawn.layout == "torchvision":
        return found
    outputs = json.loads((drawn.folder / f"{TXV_NAME}.json").read_text())["outputs"]
    return found[:, [outputs.index(name) for name in drawn.imported.findings]]
