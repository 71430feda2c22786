"""Each run of `producer run` has a log of its own, and old logs are deleted."""

import os

import pytest

from db.errors import WorkStopped
from producer.local_worker import local_worker
from tests.support.world import wait_until
from worker.settings import WorkerSettings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings with which a worker ends at once: its database cannot be reached."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    monkeypatch.setenv("CXR_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    return WorkerSettings()


def reason_of_end(settings, run_id):
    with local_worker(settings, run_id, "0" * 64) as worker, pytest.raises(WorkStopped) as caught:
        wait_until(worker.check)
    return str(caught.value)


def test_a_run_that_is_continued_appends_to_its_log(settings, tmp_path):
    """What its first worker wrote stays, and the message names the file and the latest worker's reason."""
    log = tmp_path / "logs" / "run-7.log"
    log.parent.mkdir()
    log.write_text("the first worker's words\n")
    sentence = reason_of_end(settings, 7)
    assert "does not answer" in sentence and sentence.endswith(f"(log: {log})")
    assert log.read_text().startswith("the first worker's words\n") and "does not answer" in log.read_text()


def test_the_newest_20_logs_are_kept(settings, tmp_path):
    """The run's own is among them; other files in the folder stay."""
    (tmp_path / "logs").mkdir()
    for number in range(1, 26):
        (tmp_path / "logs" / f"run-{number}.log").touch()
        os.utime(tmp_path / "logs" / f"run-{number}.log", (number, number))
    (tmp_path / "logs" / "notes").touch()
    with local_worker(settings, 26, "0" * 64):
        pass
    kept = {path.name for path in (tmp_path / "logs").iterdir()}
    assert kept == {"notes", *(f"run-{number}.log" for number in range(7, 27))}
