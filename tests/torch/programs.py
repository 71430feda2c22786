"""Runs the publishers' program in .venv/torch and ours in .venv, and reads what both wrote. No process has both."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from trainer.network.model import logits_model
from trainer.phantoms.film import draw_film
from trainer.phantoms.plan import plan_phantoms
from worker.artifacts.artifact import load_artifact
from worker.artifacts.keras_import import keras
from worker.images.pixels import to_pixels

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
PUBLISHERS_PYTHON = ROOT / ".venv/torch/bin/python"
CONVERSIONS = ROOT / "docs/weights"


def run_publisher(*arguments, check=True):
    """Run a script or module where the publishers' packages are installed."""
    command = [str(PUBLISHERS_PYTHON), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=check, capture_output=True, text=True)


def publisher(*arguments):
    return run_publisher("-m", "tests.torch.publisher", *arguments)


def import_weights(weights, home, *flags):
    """What `trainer import` makes of a file, in a process of its own."""
    command = [sys.executable, "-m", "trainer.cli", "import", str(weights), "--name", "imported", "--no-export"]
    env = {**os.environ, "CXR_HOME": str(home)}
    done = subprocess.run([*command, *map(str, flags)], cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (manifest,) = home.glob("models/*/manifest.json")
    return ImportedNetwork(artifact=load_artifact(manifest.parent))


@dataclass(frozen=True, kw_only=True)
class ImportedNetwork:
    artifact: object

    @property
    def rule(self):
        return self.artifact.manifest.preprocessing

    @property
    def findings(self):
        return self.artifact.manifest.findings

    def logits(self, gray):
        """The logits (N, findings) of gray images (N, 1, height, width) in the manifest's range."""
        model = logits_model(keras.models.load_model(self.artifact.folder / "model.keras", compile=False))
        return model.predict(np.moveaxis(gray, 1, -1), batch_size=8, verbose=0)

    def own_pixels(self, images):
        """What a worker makes of image files, and scales for the network: float32 (N, 1, height, width)."""
        black, white = self.rule.range
        pixels = np.stack([to_pixels(image.read_bytes(), self.rule) for image in images]).astype(np.float32)
        return np.moveaxis(pixels, -1, 1) * np.float32((white - black) / 255) + np.float32(black)


def gray_pixels(folder):
    """What the publisher's code made of images, in the order of their names: float32 (N, 1, height, width)."""
    with np.load(folder / "pixels.npz") as file:
        return np.stack([file[name] for name in sorted(file.files) if name.startswith("gray/")])


def draw_images(folder, count=6):
    """Drawn radiographs as PNG files: some wider than high, some higher than wide."""
    images = []
    for number, phantom in enumerate(plan_phantoms(patients=count, seed=28)[:count]):
        film = draw_film(phantom, seed=28)
        images.append(folder / f"film_{number}.png")
        cv2.imwrite(str(images[-1]), film[: 800 if number % 2 else None, : None if number % 2 else 900])
    return images


def op_norm(scores, thresholds):
    """torchxrayvision's scale of scores, on which each threshold is 0.5: `op_norm` in its models.py."""
    below, above = scores / (2 * thresholds), 1 - (1 - scores) / (2 * (1 - thresholds))
    return np.where(scores < thresholds, below, above)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(float)))
