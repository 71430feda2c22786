"""Finds out which modules a Python command imports."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def loaded(tmp_path, *arguments):
    """The top-level modules that a Python command imports, and what it prints."""
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
