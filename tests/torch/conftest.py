"""Networks with random weights, in the files of each publisher, converted and imported."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.torch.programs import CONVERSIONS, draw_images, gray_pixels, import_weights, publisher, run_publisher

#: Six of its outputs have no name.
TXV_NAME = "densenet121-res224-chex"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A drawn network: the publisher's files in `folder`, and what we made of them."""

    layout: str
    folder: Path
    images: list
    imported: object
    #: Those of the imported network, of the pixels that the publisher's code makes of `images`.
    logits: object


@pytest.fixture(scope="session", params=["torchxrayvision", "torchvision"])
def drawn(request, tmp_path_factory):
    layout, folder = request.param, tmp_path_factory.mktemp(request.param)
    images = draw_images(folder)
    publisher("pixels", layout, folder, *images)
    publisher("draw", layout, folder)
    imported = import_weights(*convert(layout, folder))
    logits = imported.logits(gray_pixels(folder))
    return Drawn(layout=layout, folder=folder, images=images, imported=imported, logits=logits)


def convert(layout, folder):
    """Convert the publisher's file as docs/ says; returns the arguments of the import."""
    if layout == "torchxrayvision":
        script = CONVERSIONS / "from_torchxrayvision.py"
        run_publisher(script, TXV_NAME, "--cache-dir", folder, "--out", folder)
        return folder / f"{TXV_NAME}.safetensors", folder / "home"
    weights = folder / "chexnet.safetensors"
    run_publisher(CONVERSIONS / "from_checkpoint.py", folder / "state_dict.pth.tar", "--out", weights)
    return weights, folder / "home", "--description", "reproduce-chexnet"
