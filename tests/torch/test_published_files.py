"""Published weights give the scores that their publishers state: for a person who has the files.

make test-torch TXV=FILE CHEXNET=FILE

TXV is the file that torchxrayvision downloads for densenet121-res224-all, or the .safetensors of its conversion beside
its .json. CHEXNET is pretrained/checkpoint of jrzech/reproduce-chexnet, or the .safetensors of its conversion.
The scores are of the pixels that the publisher's own code makes; how far scores of nightread's pixels are is printed.
"""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from tests.torch.programs import (
    CONVERSIONS,
    SHARED,
    gray_pixels,
    import_weights,
    op_norm,
    publisher,
    run_publisher,
    sigmoid,
)
from trainer.importing.public_weights import PUBLIC_WEIGHTS

TOLERANCE = 1e-3
ALL = "densenet121-res224-all"
ALL_FILE = "nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
#: README.md of mlmed/torchxrayvision, on the scale of `op_norm`, in the order of the network's outputs.
README = {
    "16747_3_1.jpg": (
        *(0.32797316, 0.42933336, 0.5316924, 0.28849724, 0.024142697, 0.5011832, 0.51887786, 0.27805611, 0.18569896),
        *(0.24489835, 0.3645515, 0.68982, 0.6392845, 0.00993878, 0.011150705, 0.51916164, 0.59073937, 0.27218717),
    ),
    "00000001_000.png": (
        *(0.50577986, 0.3124331, 0.5220189, 0.30677897, 0.21286564, 0.503361, 0.5401596, 0.39427388, 0.18006423),
        *(0.5104176, 0.62151504, 0.5091791, 0.4104132, 0.012677962, 0.21828467, 0.28907478, 0.36826086, 0.4313866),
    ),
}


def given(variable):
    """The file that make was given, or skip."""
    if not (path := os.environ.get(variable)):
        pytest.skip(f"make test-torch {variable}=FILE compares a published file, and none was given")
    assert Path(path).is_file(), f"{variable}={path}: no such file"
    return Path(path)


def find_image(name, beside):
    """A test image of torchxrayvision: in the shared data, or in the folder of the weights."""
    places = (SHARED / "odd" / f"txv_{name}", SHARED / "nih1024/images" / name, beside.parent / name)
    if found := next((place for place in places if place.is_file()), None):
        return found
    pytest.skip(f"{name} is neither in ../shared/data nor beside {beside}")


@pytest.fixture(scope="module")
def torchxrayvision(tmp_path_factory):
    folder, path = tmp_path_factory.mktemp("txv"), given("TXV")
    if path.suffix != ".safetensors":
        (folder / ALL_FILE).symlink_to(path.resolve())
        run_publisher(CONVERSIONS / "from_torchxrayvision.py", ALL, "--cache-dir", folder, "--out", folder)
        path = folder / f"{ALL}.safetensors"
    return import_weights(path, folder / "home")


@pytest.fixture(scope="module")
def chexnet(tmp_path_factory):
    folder, path = tmp_path_factory.mktemp("chexnet"), given("CHEXNET")
    if path.suffix != ".safetensors":
        weights = folder / "chexnet.safetensors"
        run_publisher(CONVERSIONS / "from_checkpoint.py", path, "--trust", "--out", weights)
        path = weights
    return import_weights(path, folder / "home", "--description", "reproduce-chexnet")


@pytest.mark.parametrize("name", README)
def test_scores_of_torchxrayvision_are_those_of_its_readme(torchxrayvision, tmp_path, name):
    """After its normalization by thresholds, which reports here do without."""
    image = find_image(name, given("TXV"))
    publishers, own = score("torchxrayvision", torchxrayvision, [image], tmp_path)
    by_finding = dict(zip(PUBLIC_WEIGHTS[ALL].description["outputs"], README[name], strict=True))
    expected = np.array([by_finding[finding] for finding in torchxrayvision.findings])
    thresholds = [torchxrayvision.artifact.manifest.thresholds[one]["published"] for one in torchxrayvision.findings]
    compare(name, op_norm(publishers, np.array(thresholds)), op_norm(own, np.array(thresholds)), expected)


def test_scores_of_chexnet_are_those_that_its_publisher_shares(chexnet, tmp_path):
    """Fourteen scores of each of 110 scans of NIH's."""
    images = sorted((SHARED / "starter/images").glob("*.png"))
    table = SHARED / "reference/chexnet_scores.csv.gz"
    if not images or not table.is_file():
        pytest.skip(f"needs {table} and the scans in {SHARED / 'starter'}")
    with gzip.open(table, "rt", newline="") as file:
        rows = {row["Image Index"]: row for row in csv.DictReader(file)}
    images = [image for image in images if image.name in rows]
    expected = [[float(rows[image.name][f"prob_{one}"]) for one in chexnet.findings] for image in images]
    compare(f"{len(images)} scans", *score("torchvision", chexnet, images, tmp_path), np.array(expected))


def score(layout, network, images, folder):
    """The sigmoid scores of the publisher's pixels, and of nightread's own."""
    publisher("pixels", layout, folder, *images)
    return sigmoid(network.logits(gray_pixels(folder))), sigmoid(network.logits(network.own_pixels(images)))


def compare(name, publishers, own, expected):
    difference, of_own = np.abs(publishers - expected).max(), np.abs(own - expected)
    print(f"\n{name}: scores differ from those published by at most {difference:.1e}")
    print(f"{name}: with nightread's own pixels by at most {of_own.max():.1e}, by {of_own.mean():.1e} on average")
    assert difference <= TOLERANCE
