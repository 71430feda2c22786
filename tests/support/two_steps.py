"""Two steps of a fit in a process of its own, because a process has one Keras backend.

KERAS_BACKEND=jax python two_steps.py OUT.npz
"""

import sys
from pathlib import Path

import numpy as np

from trainer.data.training_data import Subset
from trainer.fitting.checkpoint import CheckpointFile
from trainer.fitting.training_loop import Listener, train
from trainer.network.hardware import dtype_policy
from trainer.network.model import build_model
from trainer.network.predict import predict
from trainer.recipe import make_recipe
from worker.artifacts.keras_import import keras


def main(out: Path) -> None:
    """Fit two steps of eight scans, and write the weights before and after, the loss and the scores."""
    recipe = make_recipe(
        "best",
        encoder="densenet37",
        size=64,
        batch_size=8,
        epochs=1,
        dropout=0.0,
        averaging=0.5,
        precision="float32",
        balance=0.5,
    )
    model = build_model(recipe, ("Abnormal", "Effusion"))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        # Backends draw different random numbers from one seed.
        if weight.name == "kernel":
            weight.assign(rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape))
    before = model.get_weights()
    pixels = rng.integers(0, 256, (16, 64, 64, 1), np.uint8)
    labels = (rng.random((16, 2)) < 0.5).astype(np.float32)
    labels[::5, 1] = np.nan
    labels[1, 0] = np.nan
    scans = Subset(rows=(), pixels=pixels, indices=np.arange(16), labels=labels)
    checkpoint_file = CheckpointFile(path=out.with_suffix(".state.npz"), inputs={})
    history = train(model, scans, scans, recipe, checkpoint_file, listener=Listener(), select=False)
    with dtype_policy("auto") as policy:
        figures = {
            "backend": keras.backend.backend(),
            "policy": policy,
            "loss": history[0].loss,
            "accuracy": history[0].accuracy,
        }
    weights = {"before": _one_row(before), "after": _one_row(model.get_weights())}
    np.savez(out, **weights, **figures, scores=predict(model, pixels, scans.indices))


def _one_row(weights: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in weights])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
