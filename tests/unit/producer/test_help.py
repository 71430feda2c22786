"""A producer's machine needs no model library, and help is quick."""

import pytest

from tests.support.imports import loaded


@pytest.mark.parametrize("command", [(), ("enqueue",), ("nightly",), ("report",), ("model",)], ids=" ".join)
def test_help_is_light_and_writes_nothing(tmp_path, command):
    """Neither a model library nor the ledger's is loaded to print a page."""
    modules, shown = loaded(tmp_path, "-m", "producer.cli", *command, "--help")
    assert "Usage" in shown
    assert modules.isdisjoint({"tensorflow", "keras", "cv2", "pandas", "sqlalchemy", "celery", "numpy"})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["producer.commands.runs", "producer.commands.maintain"])
def test_enqueueing_never_loads_a_model_library(tmp_path, module):
    """TensorFlow costs seconds and 600 MB, and the producer's image does not have it."""
    modules, _ = loaded(tmp_path, "-c", f"import {module}")
    assert modules.isdisjoint({"tensorflow", "keras", "cv2", "pandas"})
