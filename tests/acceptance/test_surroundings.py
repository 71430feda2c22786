"""A command does its work whatever lies in the current folder, and whatever another Celery program has set."""

import subprocess
import sys

import pytest

from tests.support.celery_variables import read_by_celery, read_by_its_command_line
from tests.support.world import EMBEDDED, hash_artifact, which_or_none, write_csv, write_images

SCANS = range(8)
#: Modules that our processes import, of ours, of others and of Python itself; and Celery's own configuration.
POISONED = (
    *("db", "worker", "producer", "celery", "kombu", "billiard", "redis", "sqlalchemy", "pydantic", "numpy", "cv2"),
    *("celeryconfig", "pickle", "multiprocessing", "concurrent", "logging", "runpy"),
)


@pytest.fixture
def poisoned(tmp_path):
    """A folder of modules each of which leaves its name in the file `trap` when it is imported."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in POISONED:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'a').write(__name__ + ' ')\n")
    return folder


def run(world, folder, command, *arguments, **variables):
    """Run an installed command in a folder; a console script itself does not search that folder."""
    done = subprocess.run(
        [which_or_none(command), *map(str, arguments)],
        cwd=folder,
        env={**world.environment, **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("world", [EMBEDDED], indirect=True)
def test_a_run_uses_only_its_own_settings_and_code(world, poisoned, tmp_path):
    """Otherwise the paths of the images would go to another program's broker, or a file beside them would be run."""
    hash_artifact(world.home / "models")
    write_images(poisoned / "images", SCANS)
    csv = write_csv(poisoned / "sample_labels.csv", SCANS)
    variables = dict.fromkeys(read_by_celery() | read_by_its_command_line(), "redis://127.0.0.1:1/0")
    run(world, poisoned, "producer", "run", "--csv", csv, **variables)
    assert world.rows("SELECT state, count(*) FROM outcomes GROUP BY state") == [("scored", len(SCANS))]
    assert not (tmp_path / "trap").exists(), (tmp_path / "trap").read_text()


@pytest.mark.parametrize("world", [EMBEDDED], indirect=True)
def test_the_processes_that_draw_phantoms_import_nothing_from_the_current_folder(world, poisoned, tmp_path):
    """They are started with `-c`, for which Python would search that folder first."""
    run(world, poisoned, "trainer", "phantoms", "--patients", 2, "--out", tmp_path / "phantoms")
    assert not (tmp_path / "trap").exists(), (tmp_path / "trap").read_text()


def test_python_m_db_imports_no_library_from_the_current_folder(poisoned, tmp_path):
    """A person may type it beside the scans. A file `db.py` there would be run instead, as Python defines it."""
    (poisoned / "db.py").unlink()
    command = [sys.executable, "-m", "db", "upgrade"]
    environment = {"CXR_HOME": str(tmp_path), "CXR_DATABASE_URL": f"sqlite:///{tmp_path / 'nightread.sqlite'}"}
    subprocess.run(command, cwd=poisoned, env=environment, check=True)
    assert not (tmp_path / "trap").exists(), (tmp_path / "trap").read_text()
