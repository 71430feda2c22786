"""Metrics, heartbeats, health and logs of running workers."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.event_capture import EventCapture
from tests.support.world import (
    free_port,
    hash_artifact,
    image_name,
    kill_tree,
    scoring_process,
    wait_until,
    write_csv,
    write_images,
)

SCANS = range(48)
EMBEDDED = pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
SEPARATE = pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)


@pytest.fixture
def source(world, tmp_path):
    """48 scans, one of them empty; the worker serves its metrics."""
    write_images(tmp_path / "images", SCANS)
    (tmp_path / "images" / image_name(3)).write_bytes(b"")
    hash_artifact(world.home / "models")
    world.env["CXR_METRICS_PORT"] = str(free_port())
    return write_csv(tmp_path / "sample_labels.csv", SCANS)


def finished(world):
    return lambda: world.rows("SELECT count(*) FROM runs WHERE finished_at IS NULL") == [(0,)]


def scrape(world):
    """Return every sample by its name and labels, or none while no worker serves metrics."""
    try:
        page = urllib.request.urlopen(f"http://127.0.0.1:{world.env['CXR_METRICS_PORT']}/metrics", timeout=5)
    except OSError:
        return {}
    families = text_string_to_metric_families(page.read().decode())
    return {(s.name, *sorted(v for v in s.labels.values() if v)): s.value for f in families for s in f.samples}


def health(world, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "health", *arguments],
        env=world.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def probe(world, path):
    try:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{world.env['CXR_METRICS_PORT']}{path}", timeout=5)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.read().decode().strip()


def heartbeats(world):
    """Return the workers in `producer status --json`."""
    return json.loads(world.producer("status", "--json").stdout)["workers"]


@SEPARATE
def test_metrics_count_every_outcome_and_never_fall_when_the_scoring_process_dies(world, source):
    """No counter falls from the middle of a run to its end, although the scoring process gets a SIGKILL."""
    world.env["HASH_SCORER_SECONDS"] = "0.4"
    worker = world.worker()
    wait_until(lambda: scrape(world).get(("nightread_worker_ready", "cpu")) == 0, what=f"metrics\n{world.logs()}")
    world.producer("enqueue", "--csv", source)
    scored = ("nightread_scans_total", "cpu", "hash", "scored")
    wait_until(lambda: scrape(world).get(scored, 0) > 8, what="the first scans")
    middle = scrape(world)
    scoring_process(worker).kill()
    after = scrape(world)
    wait_until(lambda: scrape(world)["nightread_worker_restarts_total", "cpu"] == 1, what="a new scoring process")
    later = scrape(world)
    wait_until(finished(world), seconds=60, what=f"the run's end\n{world.logs()}")
    wait_until(lambda: scrape(world)[scored] >= 47 - 24, what="the last count")
    end = scrape(world)
    for before, now in ((middle, after), (after, later), (later, end)):
        assert not [key for key in before if key[0].endswith("_total") and now[key] < before[key]]
    assert end["nightread_scans_total", "cpu", "empty", "hash", "rejected"] == 1
    # Scans of the last second before the kill are not counted, and at most one batch is counted twice.
    assert 47 - 24 <= end[scored] <= 47 + 8
    assert end["nightread_stage_seconds_total", "cpu", "score"] > 1
    assert end["nightread_stage_seconds_total", "cpu", "decode"] > 0
    assert end["nightread_worker_ready", "cpu"] == 1
    assert end["nightread_process_resident_memory_bytes", "cpu", "scoring"] > 50e6
    assert abs(time.time() - end["nightread_last_progress_timestamp_seconds", "cpu"]) < 60
    assert [key for key in end if key[0] == "nightread_model_info" and {"hash", "float32"} <= {*key}]


@pytest.mark.slow
@SEPARATE
def test_status_shows_the_workers_of_all_machines(world, source, tmp_path):
    """A producer with another home folder sees each worker's device, model and counts until the worker is stopped."""
    # The command needs a second to start, and the run must last longer.
    world.env["HASH_SCORER_SECONDS"] = "2"
    world.producer("enqueue", "--csv", source)
    worker = world.worker()
    # Its first heartbeats say that it loads, and status prints a line only every few seconds.
    wait_until(lambda: any(worker["state"] == "scoring" for worker in heartbeats(world)), what="a scoring worker")
    world.env["CXR_HOME"] = str(tmp_path / "elsewhere")
    watched = world.producer("status", "--watch", check=False)
    assert watched.returncode == 3
    assert re.search(r"run 1: \d+ of 48 scans pending", watched.stderr)
    assert re.search(r"worker \S+ cpu \(pid \d+\): .*scoring, .*, \d+ done since it started", watched.stderr)
    wait_until(
        lambda: [worker["decided"] for worker in heartbeats(world)] == [48], what=f"the heartbeats\n{world.logs()}"
    )
    (heartbeat,) = heartbeats(world)
    assert (heartbeat["device"], heartbeat["model"], heartbeat["state"], heartbeat["pid"]) == (
        "cpu",
        "hash",
        "idle",
        worker.pid,
    )
    assert heartbeat["rate"] is None, "it is idle"
    assert (heartbeat["stalled"], heartbeat["restarts"]) == (0, 0)
    worker.terminate()
    worker.wait(30)
    assert not heartbeats(world)


@pytest.mark.slow
@EMBEDDED
def test_health_tells_the_states_of_a_worker_apart(world, source):
    """`worker health` exits with 0 for a loading, idle or scoring worker, and else with 1 and one sentence.

    With `--ready`, and at `/ready` of the metrics port, a loading one is not ready.
    """
    assert health(world) == (1, f"unhealthy: no 'worker start' for {world.home} has reported here in the last 30 s")
    world.env |= {"HASH_SCORER_SECONDS": "1", "HASH_SCORER_LOAD_SECONDS": "6"}
    worker = world.worker()
    seen = set()
    wait_until(lambda: seen.add(health(world)) or (0, "cpu: loading") in seen, what="a loading worker")
    assert health(world, "--ready") == (1, "not ready: the worker on cpu has not loaded its model yet")
    assert probe(world, "/health") == (200, "cpu: loading")
    assert probe(world, "/ready") == (503, "the worker on cpu has not loaded its model yet")
    wait_until(lambda: health(world, "--ready") == (0, "cpu: idle"), what="an idle worker")
    assert probe(world, "/ready") == (200, "cpu: idle")
    world.producer("enqueue", "--csv", source)
    wait_until(lambda: health(world) == (0, "cpu: scoring"), what="a scoring worker")
    child = scoring_process(worker)
    child.send_signal(signal.SIGSTOP)
    world.env["CXR_HEALTH_SECONDS"] = "3"
    wait_until(lambda: health(world)[0] == 1, what="a stuck worker")
    assert re.search(
        r"unhealthy: the worker on cpu has decided no scan for \d+ s although it has work", health(world)[1]
    )
    kill_tree(worker.pid)
    assert health(world)[0] == 1


@EMBEDDED
def test_health_reports_an_unreachable_broker(world, source):
    """A worker whose broker does not answer is unhealthy, even though it holds its model."""
    world.env["CXR_BROKER_URL"] = "redis://127.0.0.1:1/0"
    world.producer("enqueue", "--csv", source)
    world.worker()
    wait_until(lambda: health(world) == (1, "unhealthy: the broker does not answer"), what="the health file")
    assert heartbeats(world) is None


@EMBEDDED
def test_a_metrics_port_in_use_gives_one_sentence(world, source):
    """The worker exits with code 2 and names the setting, without a traceback."""
    with socket.create_server(("127.0.0.1", int(world.env["CXR_METRICS_PORT"]))):
        worker = world.worker()
        assert worker.wait(60) == 2
    assert f"error: CXR_METRICS_PORT {world.env['CXR_METRICS_PORT']}" in world.logs()
    assert "Traceback" not in world.logs()


@SEPARATE
def test_no_name_appears_in_json_logs_metrics_heartbeats_or_events(world, source, tmp_path):
    """Logs, metrics, heartbeats and events are all written, and none holds a file name or a folder."""
    world.env |= {"CXR_LOG_FORMAT": "json", "CXR_EVENTS": "true"}
    monitor = EventCapture(lambda: world.broker)
    world.producer("enqueue", "--csv", source)
    world.worker()
    wait_until(finished(world), what=f"the run's end\n{world.logs()}")
    for event in ("task-sent", "task-received", "task-succeeded"):
        wait_until(lambda event=event: f'"{event}"' in "".join(monitor.heard), what=event)
    monitor.stop()
    wait_until(lambda: world.broker.keys("nightread.worker.*"), what="a heartbeat")
    outputs = {
        "events": "\n".join(monitor.heard),
        "metrics": repr(scrape(world)),
        "heartbeats": repr([world.broker.get(key) for key in world.broker.keys("nightread.worker.*")]),
    }
    world.stop()
    outputs["logs"] = world.logs()
    assert "outcomes 1-16, 16 scans" in outputs["events"]
    for where, text in outputs.items():
        leaked = [name for name in (*map(image_name, SCANS), str(tmp_path / "images"), "sample_labels") if name in text]
        assert not leaked, f"{where}: {leaked}"
    # Neither Celery's warning against running as root nor what it says of Ctrl+C.
    home, *lines = outputs["logs"].splitlines()
    assert home == f"home: {world.home}"
    lines = [json.loads(line) for line in lines]
    (rejected,) = [line for line in lines if line.get("reason") == "empty"]
    assert rejected["run_ids"] == [1]
    assert rejected["message"] == f"scan {rejected['scan_id']} rejected: empty (run 1)"
    assert rejected["time"].endswith("+00:00")
    chunks = [line for line in lines if line["message"].startswith("chunk of 16 for run 1")]
    assert [line["decided"] for line in chunks] == [16, 16, 16]
    assert [line["run_id"] for line in lines if line["message"] == "run 1 finished"] == [1]
