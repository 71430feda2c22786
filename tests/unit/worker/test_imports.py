"""Only the scoring process may load TensorFlow, which costs seconds and 600 MB."""

import pytest

from tests.support.imports import loaded

HEAVY = ("tensorflow", "keras", "cv2", "pandas")


def test_worker_help_loads_no_heavy_library(tmp_path):
    """`worker --help` starts quickly, because it is read often and on machines without a GPU."""
    modules, shown = loaded(tmp_path, "-m", "worker.cli", "--help")
    assert "check" in shown
    assert modules.isdisjoint(HEAVY)
    # The ledger's libraries take a second to load from a cold disk.
    assert modules.isdisjoint({"sqlalchemy", "celery", "numpy"})


def test_worker_health_loads_no_heavy_library(tmp_path):
    """`worker health` opens neither queue nor ledger, because a container runs it every half minute."""
    modules, _ = loaded(tmp_path, "-c", "import worker.supervision.health")
    assert modules.isdisjoint({*HEAVY, "sqlalchemy", "celery", "kombu", "redis", "numpy", "prometheus_client"})


@pytest.mark.parametrize(
    "module",
    ["worker.tasks", "worker.supervision.supervisor", "worker.supervision.start", "worker.artifacts.registration"],
)
def test_the_parents_of_the_scoring_process_never_load_a_model_library(tmp_path, module):
    """Celery's parent and the supervisor run for weeks and hold neither TensorFlow nor an image decoder."""
    modules, _ = loaded(tmp_path, "-c", f"import {module}")
    assert modules.isdisjoint({*HEAVY, "pydicom"})
    assert not any(tmp_path.iterdir())
