"""Two steps of a fit in a process of its own, for a process has one Keras backend.

    KERAS_BACKEND=jax python two_steps.py WEIGHTS.npz OUT.npz

The weights are written where they are not there yet, and read where they are: backends draw other random numbers.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from trainer.fit_state import StateFile
from trainer.hardware import computing_in
from trainer.loop import Listener, predict, train
from trainer.material import Subset
from trainer.model import build_model
from trainer.recipe import make_recipe

FINDINGS = ("Abnormal", "Effusion")


def main(begin: Path, out: Path) -> None:
    """Fit two steps of eight scans and write the weights, the loss and some scores."""
    recipe = make_recipe(
        "best", encoder="densenet37", size=64, batch_size=8, epochs=1, dropout=0.0, precision="float32", balance=0.5
    )
    model = build_model(recipe, FINDINGS)
    if begin.exists():
        with np.load(begin) as held:
            model.set_weights([held[name] for name in held.files])
    else:
        np.savez(begin, *model.get_weights())
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 64, 64, 1), np.uint8)
    labels = (rng.random((16, 2)) < 0.5).astype(np.float32)
    scans = Subset(rows=(), pixels=pixels, places=np.arange(16), labels=labels)
    state = StateFile(path=out.with_suffix(".state.npz"), purpose={})
    history = train(model, scans, scans, recipe, state, listener=Listener(), select=False)
    scores = predict(model, pixels, scans.places)
    with computing_in("auto") as policy:
        figures = {"backend": keras.backend.backend(), "policy": policy, "loss": history[0].loss, "scores": scores}
    np.savez(out, *model.get_weights(), **figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
