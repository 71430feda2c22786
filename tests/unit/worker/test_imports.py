"""TensorFlow costs seconds and 600 MB: only the process that scores may load it."""

import pytest

from tests.support.imports import loaded

HEAVY = ("tensorflow", "keras", "cv2", "pandas")


def test_worker_help_is_light(tmp_path):
    """Help is read often, and on machines without a GPU."""
    modules, shown = loaded(tmp_path, "-m", "worker.cli", "--help")
    assert "check" in shown
    assert modules.isdisjoint(HEAVY)
    # Nor the ledger's libraries: they are a second on a cold disk.
    assert modules.isdisjoint({"sqlalchemy", "celery", "numpy"})


def test_worker_health_is_light(tmp_path):
    """A container asks every half minute: neither queue nor ledger is opened for it."""
    modules, _ = loaded(tmp_path, "-c", "import worker.supervision.health")
    assert modules.isdisjoint({*HEAVY, "sqlalchemy", "celery", "kombu", "redis", "numpy", "prometheus_client"})


@pytest.mark.parametrize(
    "module",
    ["worker.tasks", "worker.supervision.supervisor", "worker.supervision.start", "worker.artifacts.registration"],
)
def test_the_parents_of_the_scoring_process_never_load_a_model_library(tmp_path, module):
    """Celery's parent imports the tasks, the supervisor stays for weeks: neither holds TensorFlow or a decoder."""
    modules, _ = loaded(tmp_path, "-c", f"import {module}")
    assert modules.isdisjoint(HEAVY)
    assert not any(tmp_path.iterdir())
