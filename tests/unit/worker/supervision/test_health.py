"""`worker health` by the files that supervisors leave: well, or unhealthy with the reason."""

import os
import subprocess
import time

import pytest

from tests.support.sample_heartbeat import sample_heartbeat
from worker.settings import WorkerSettings
from worker.supervision.health import STALE_SECONDS, Unhealthy, check_health, health_folder, write_health_file

SCORING = sample_heartbeat(device="gpu 1")
IDLE = sample_heartbeat(device="cpu", state="idle")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return WorkerSettings(home=tmp_path / "home", health_seconds=300)


def report(settings, heartbeats, pid=None):
    """Leave a supervisor's health file; that of this process unless another pid is given."""
    file = health_folder(settings) / f"{pid or os.getpid()}.json"
    write_health_file(file, heartbeats)
    return file


def reason(settings):
    with pytest.raises(Unhealthy) as caught:
        check_health(settings)
    return str(caught.value)


def test_every_device_of_every_supervisor_is_named(settings):
    report(settings, [SCORING])
    report(settings, [IDLE], pid=os.getppid())
    assert sorted(check_health(settings).split("; ")) == ["cpu: idle", "gpu 1: scoring"]


def test_a_supervisor_without_a_model_is_well(settings):
    report(settings, [])
    assert check_health(settings) == "waiting for a model"


def test_one_supervisor_without_a_broker_makes_all_unhealthy(settings):
    report(settings, [IDLE])
    report(settings, None, pid=os.getppid())
    assert reason(settings) == "the broker does not answer"


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("loading", "the worker on cpu has not loaded its model for 301 s"),
        ("scoring", "the worker on cpu has decided no scan for 301 s although it has work"),
    ],
)
def test_a_stall_is_unhealthy_after_the_set_seconds(settings, state, sentence):
    report(settings, [SCORING, sample_heartbeat(device="cpu", state=state, stalled=300.0)])
    assert check_health(settings)
    report(settings, [SCORING, sample_heartbeat(device="cpu", state=state, stalled=301.0)])
    assert reason(settings) == sentence


def test_files_of_the_dead_the_silent_and_other_versions_do_not_count(settings):
    """A supervisor that ended, one that hangs, one of the commit before, and a file that is damaged."""
    child = subprocess.Popen(["true"])
    child.wait()
    report(settings, [IDLE], pid=child.pid)
    own = report(settings, [IDLE])
    assert check_health(settings) == "cpu: idle"
    for content in (b'{"broker":true,"beats":[]}', b"[1]", b""):
        own.write_bytes(content)
        assert "has reported here in the last 30 s" in reason(settings)
    report(settings, [IDLE])
    long_ago = time.time() - STALE_SECONDS - 1
    os.utime(own, (long_ago, long_ago))
    assert "has reported here in the last 30 s" in reason(settings)
