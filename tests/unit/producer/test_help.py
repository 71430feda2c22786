"""Help is quick and needs no model library, and its defaults are values that can be typed."""

import inspect
from importlib.metadata import version

import pytest

from db.metrics.run_metrics import DEFAULT_THRESHOLDS
from producer import cli
from producer.commands.inspect_run import parse_thresholds
from tests.support.imports import loaded


@pytest.mark.parametrize("command", [(), ("enqueue",), ("nightly",), ("report",), ("model",)], ids=" ".join)
def test_help_is_light_and_writes_nothing(tmp_path, command):
    """Printing it loads neither a model library nor SQLAlchemy."""
    modules, shown = loaded(tmp_path, "-m", "producer.cli", *command, "--help")
    assert "Usage" in shown
    assert "[default: (" not in shown, "typer puts what cannot be typed in brackets"
    assert modules.isdisjoint({"tensorflow", "keras", "cv2", "pandas", "pyarrow", "sqlalchemy", "celery", "numpy"})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["producer.commands.runs", "producer.commands.models"])
def test_enqueueing_never_loads_a_model_library(tmp_path, module):
    """TensorFlow takes seconds and 600 MB, and the producer's image does not have it."""
    modules, _ = loaded(tmp_path, "-c", f"import {module}")
    assert modules.isdisjoint({"tensorflow", "keras", "cv2", "pandas"})


@pytest.mark.parametrize("program", ["producer.cli", "worker.cli", "trainer.cli", "db"])
def test_every_program_prints_its_version(tmp_path, program):
    """It is that of the installed package, and printing it is as quick as help."""
    modules, shown = loaded(tmp_path, "-m", program, "--version")
    assert f"nightread {version('nightread')}\n" in shown
    if program != "db":
        assert modules.isdisjoint({"tensorflow", "keras", "cv2", "pandas", "sqlalchemy", "celery", "numpy"})


def test_help_shows_the_default_thresholds():
    """The command line has them as text, because importing the metrics would make help slow."""
    shown = inspect.signature(cli.report).parameters["thresholds"].default
    assert parse_thresholds(shown) == DEFAULT_THRESHOLDS
