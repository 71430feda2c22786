"""Model and loop keep to Keras' own API, so that GPUs may be reached through JAX too."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[2] / "support" / "two_steps.py"
ROOT = Path(__file__).parents[3]


def two_steps(backend, folder):
    """Arrays by name: weights, loss and scores after two steps from the same weights."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    out = folder / f"{backend}.npz"
    subprocess.run([sys.executable, SCRIPT, folder / "begin.npz", out], env=environment, check=True)
    with np.load(out) as held:
        return {name: held[name] for name in held.files}


def test_two_steps_on_jax_come_to_what_they_come_to_on_tensorflow(tmp_path):
    """The same scans in the same order: loss and scores equal but for rounding, and so the way that weights went.

    Adam divides by a gradient's size, so a weight whose gradient is all rounding may differ by a whole step.
    """
    tensorflow, jax = two_steps("tensorflow", tmp_path), two_steps("jax", tmp_path)
    assert (str(tensorflow["backend"]), str(jax["backend"])) == ("tensorflow", "jax")
    assert str(tensorflow["policy"]) == str(jax["policy"])
    for figure in ("loss", "scores"):
        np.testing.assert_allclose(jax[figure], tensorflow[figure], atol=1e-4)
    with np.load(tmp_path / "begin.npz") as held:
        begin = {name: held[name] for name in held.files}
    way = _mean(tensorflow, begin)
    assert way > 1e-3
    assert _mean(tensorflow, {name: jax[name] for name in begin}) < way / 100


def _mean(one, other):
    """The mean difference of weights."""
    return np.concatenate([np.abs(one[name] - other[name]).ravel() for name in other]).mean()
