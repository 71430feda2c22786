"""The publishers' side of a comparison: their networks, pixels and logits, in files. It runs in .venv/torch.

.venv/torch/bin/python -m tests.torch.publisher pixels LAYOUT FOLDER IMAGE...
.venv/torch/bin/python -m tests.torch.publisher draw LAYOUT FOLDER

`pixels` writes what the publisher's own code makes of images. `draw` writes a DenseNet121 with random weights, in the
files that the publisher has, and the logits that the publisher's own code then gives these pixels.
"""

import sys
from pathlib import Path

import numpy as np
import skimage.io
import torch
import torchvision
import torchxrayvision
from PIL import Image

from tests.support.torch_reference import IMAGENET_MEAN, IMAGENET_STD

#: Six of its outputs have no name, and no threshold.
WEIGHTS = "densenet121-res224-chex"
PIXELS, LOGITS = "pixels.npz", "logits.npz"
SIDE = 224


class CheXNet(torch.nn.Module):
    """As reimplementations of CheXNet have it."""

    def __init__(self):
        super().__init__()
        self.densenet121 = torchvision.models.densenet121(num_classes=14)
        self.densenet121.classifier = torch.nn.Sequential(torch.nn.Linear(1024, 14), torch.nn.Sigmoid())

    def forward(self, pixels):
        return self.densenet121(pixels)


def draw(layout, folder):
    torch.manual_seed(28)
    with np.load(folder / PIXELS) as file:
        names = sorted(name for name in file.files if name.startswith("input/"))
        batch = torch.from_numpy(np.stack([file[name] for name in names]))
    draw_layout, compute = LAYOUTS[layout]
    draw_layout(folder, batch)
    with torch.inference_mode():
        found = compute(folder, batch)
    np.savez(folder / LOGITS, **{name: tensor.numpy() for name, tensor in found.items()})


def draw_torchxrayvision(folder, batch):
    network = torchxrayvision.models.DenseNet(weights=None)
    randomize(network, batch, network.classifier)
    torch.save(network, folder / Path(torchxrayvision.models.model_urls[WEIGHTS]["weights_url"]).name)


def draw_chexnet(folder, batch):
    network = CheXNet()
    randomize(network, batch, network.densenet121.classifier[0])
    tensors = torch.nn.DataParallel(network).state_dict()
    torch.save({"epoch": 1, "state_dict": tensors, "best_loss": 0.5}, folder / "state_dict.pth.tar")
    # jrzech's program saves the whole network, without a wrapper.
    torch.save({"model": network.densenet121, "epoch": 1}, folder / "whole_network")


def randomize(network, batch, classifier):
    """Draw every weight, so that features, logits and moving statistics agree in size as in a fitted network."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            # Some channels vary so little that batch normalization's epsilon decides what is left of them.
            quarter = module.weight.data[::4]
            quarter *= 10 ** -(2 + torch.rand(len(quarter), 1, 1, 1))
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
            # The mean of all batches instead of a moving one.
            module.momentum = None
    seen = []
    classifier.register_forward_hook(lambda _, given, logits: seen.append(logits))
    with torch.no_grad():
        network.train()(batch)
        for module in network.eval().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean += 0.1 * torch.randn_like(module.running_mean) * module.running_var.sqrt()
                module.running_var *= 0.8 + 0.4 * torch.rand_like(module.running_var)
        network(batch)
        classifier.weight /= seen[-1].std()
    classifier._forward_hooks.clear()


def pixels(layout, folder, images):
    """Write by image: `input/NAME`, what the publisher's network takes; `gray/NAME`, the same as one gray image."""
    prepare = torchxrayvision_pixels if layout == "torchxrayvision" else chexnet_pixels
    made = {}
    for image in images:
        made[f"input/{image.name}"], made[f"gray/{image.name}"] = prepare(image)
    np.savez(folder / PIXELS, **made)


def torchxrayvision_pixels(path):
    """As the publisher's README has it: float32 (1, side, side) in -1024..1024."""
    image = torchxrayvision.datasets.normalize(skimage.io.imread(path), 255)
    # Without the alpha that some films have, which that README's image has not.
    image = (image[..., :3].mean(2) if image.ndim == 3 else image)[None, ...]
    crop, resize = torchxrayvision.datasets.XRayCenterCrop(), torchxrayvision.datasets.XRayResizer(SIDE)
    made = resize(crop(image))
    return made, made


def chexnet_pixels(path):
    """As jrzech's model.py and cxr_dataset.py have it; the gray image is what comes before the scaling."""
    transforms = torchvision.transforms
    resized = transforms.Compose([transforms.Resize(SIDE), transforms.CenterCrop(SIDE)])(
        Image.open(path).convert("RGB")
    )
    scaled = transforms.Compose([transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])(resized)
    return scaled.numpy(), np.asarray(resized, np.float32)[None, ..., 0]


def torchxrayvision_logits(folder, batch):
    network = torchxrayvision.models.DenseNet(weights=WEIGHTS, cache_dir=str(folder))
    return {"logits": network.classifier(network.features2(batch)), "outputs": network(batch)}


def chexnet_logits(folder, batch):
    network = CheXNet()
    tensors = torch.load(folder / "state_dict.pth.tar", weights_only=True)["state_dict"]
    torch.nn.DataParallel(network).load_state_dict(tensors)
    outputs = network.eval()(batch)
    network.densenet121.classifier = network.densenet121.classifier[0]
    return {"logits": network(batch), "outputs": outputs}


LAYOUTS = {
    "torchxrayvision": (draw_torchxrayvision, torchxrayvision_logits),
    "torchvision": (draw_chexnet, chexnet_logits),
}

if __name__ == "__main__":
    command, layout_name, directory, *files = sys.argv[1:]
    if command == "pixels":
        pixels(layout_name, Path(directory), [Path(file) for file in files])
    else:
        draw(layout_name, Path(directory))
