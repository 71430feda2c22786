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
LOADING = sample_heartbeat(device="cpu", state="loading")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return WorkerSettings(home=tmp_path / "home", health_seconds=300)


def report(settings, heartbeats, pid=None):
    """Leave a supervisor's health file; that of this process unless another pid is given."""
    file = health_folder(settings) / f"{pid or os.getpid()}.json"
    write_health_file(file, heartbeats)
    return file


def reason(settings, **options):
    with pytest.raises(Unhealthy) as caught:
        check_health(settings, **options)
    return str(caught.value)


def test_every_device_of_every_supervisor_is_named(settings):
    report(settings, [SCORING])
    report(settings, [IDLE], pid=os.getppid())
    assert sorted(check_health(settings).split("; ")) == ["cpu: idle", "gpu 1: scoring"]


def test_a_supervisor_without_a_model_is_well(settings):
    report(settings, [])
    assert check_health(settings) == "waiting for a model"


def test_workers_are_ready_once_each_has_its_model(settings):
    """A container is healthy while its model loads, but no work should wait for it."""
    report(settings, [SCORING, LOADING])
    assert check_health(settings) == "gpu 1: scoring; cpu: loading"
    assert reason(settings, ready=True) == "the worker on cpu has not loaded its model yet"
    report(settings, [SCORING, IDLE])
    assert check_health(settings, ready=True) == "gpu 1: scoring; cpu: idle"


def test_a_supervisor_without_a_model_is_not_ready_and_neither_are_those_beside_it(settings):
    report(settings, [IDLE])
    report(settings, [], pid=os.getppid())
    assert reason(settings, ready=True) == "there is no model to load yet"


def test_what_is_unhealthy_is_not_ready(settings):
    """It holds its model, but takes no work."""
    report(settings, [sample_heartbeat(device="cpu", stalled=301.0)])
    assert reason(settings, ready=True) == reason(settings)
    report(settings, None)
    assert reason(settings, ready=True) == "the broker does not answer"


def test_a_supervisor_can_be_asked_for_alone(settings):
    """One `worker start` must not be restarted because another one beside it is stuck."""
    report(settings, [IDLE])
    report(settings, None, pid=os.getppid())
    assert check_health(settings, ready=True, supervisor=os.getpid()) == "cpu: idle"
    assert reason(settings, supervisor=os.getppid()) == "the broker does not answer"


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
