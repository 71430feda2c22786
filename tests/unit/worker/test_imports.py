"""TensorFlow costs seconds and 600 MB: only the process that scores may load it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("tensorflow", "keras", "cv2", "pandas")


def loaded(tmp_path, *arguments):
    """Which top-level modules a python command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        env={**os.environ, "CXR_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    modules = {line.rsplit("|", 1)[-1].strip() for line in lines}
    assert "typing" in modules
    return {module.partition(".")[0] for module in modules}, done.stdout


def test_worker_help_is_light(tmp_path):
    """Help is read often, and on machines without a GPU."""
    modules, shown = loaded(tmp_path, "-m", "worker.cli", "--help")
    assert "check" in shown
    assert modules.isdisjoint(HEAVY)
    # Nor the ledger's libraries: they are a second on a cold disk.
    assert modules.isdisjoint({"sqlalchemy", "celery", "numpy"})


@pytest.mark.parametrize("module", ["worker.tasks", "worker.supervisor", "worker.start", "worker.registry"])
def test_the_parents_of_the_scoring_process_never_load_a_model_library(tmp_path, module):
    """Celery's parent imports the tasks, the supervisor stays for weeks: neither holds TensorFlow or a decoder."""
    modules, _ = loaded(tmp_path, "-c", f"import {module}")
    assert modules.isdisjoint(HEAVY)
    assert not any(tmp_path.iterdir())
