"""Model and training loop use only Keras' own API, so that they run on JAX too."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.variant

SCRIPT = Path(__file__).parents[3] / "support" / "two_steps.py"
ROOT = Path(__file__).parents[4]
BACKENDS = ("tensorflow", "jax")


def two_steps(folder):
    """Each backend's weights before and after, loss and scores. Both run at once, because compiling takes long."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen([sys.executable, SCRIPT, folder / f"{name}.npz"], env=environment | {"KERAS_BACKEND": name})
        for name in BACKENDS
    ]
    assert [process.wait() for process in processes] == [0, 0]
    return [np.load(folder / f"{name}.npz") for name in BACKENDS]


def test_two_steps_give_the_same_result_on_jax_as_on_tensorflow(tmp_path):
    """Except for rounding, loss, scores and the changes of averaged weights are equal for the same scans in the same
    order, of which some labels are unknown.

    Adam divides by a gradient's size, so a weight whose gradient is only rounding may differ by a whole step.
    """
    tensorflow, jax = two_steps(tmp_path)
    assert (str(tensorflow["backend"]), str(jax["backend"])) == BACKENDS
    assert str(tensorflow["policy"]) == str(jax["policy"])
    np.testing.assert_array_equal(jax["before"], tensorflow["before"])
    np.testing.assert_allclose(jax["loss"], tensorflow["loss"], atol=1e-4)
    assert float(jax["accuracy"]) == pytest.approx(float(tensorflow["accuracy"]))
    np.testing.assert_allclose(jax["scores"], tensorflow["scores"], atol=5e-3)
    change = np.abs(tensorflow["after"] - tensorflow["before"]).mean()
    assert change > 1e-3
    assert np.abs(jax["after"] - tensorflow["after"]).mean() < change / 100
