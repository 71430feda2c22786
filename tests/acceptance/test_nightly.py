"""`producer nightly` as people, cron and two hosts at once run it, with real processes, queue, worker and S3."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from producer.ingest.source import Source
from producer.nightly.schedule import job_id
from tests.support.notification_servers import webhook
from tests.support.s3_server import client_of
from tests.support.world import hash_artifact, image_name, radiograph, wait_until, write_csv, write_images


@pytest.fixture
def hook(world):
    """A webhook that receives the summaries of the world's nightly producers."""
    with webhook() as server:
        world.env |= {"CXR_WEBHOOK_URL": server.url, "NO_PROXY": "127.0.0.1"}
        hash_artifact(world.home / "models")
        yield server


def summaries(hook):
    return [json.loads(body) for _, _, body in hook.taken]


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_each_night_scores_the_new_images_under_the_prefix(world, hook, s3, tmp_path):
    """The command reports the run, calls the webhook, and exits by the outcome; no name is sent or logged."""
    import cv2

    world.env |= s3
    client, bucket = client_of(s3), f"canary-{world.home.parent.name.replace('_', '-').lower()[-40:].strip('-')}"
    client.create_bucket(Bucket=bucket)

    def upload(number, body=None):
        body = body or cv2.imencode(".png", radiograph(number))[1].tobytes()
        client.put_object(Bucket=bucket, Key=f"ward/{image_name(number)}", Body=body)

    for number in range(3):
        upload(number)
    world.worker()
    night = ("nightly", "--now", "--images", f"s3://{bucket}/ward")
    first = world.producer(*night)
    assert "3  scored" in first.stdout
    upload(3)
    upload(4, b"<html>")
    second = world.producer(*night, "--json", check=False)
    assert second.returncode == 3, second.stderr
    summary = json.loads(second.stdout)
    assert (summary["expected"], summary["scored"], summary["reused"], summary["rejected"]) == (
        5,
        4,
        3,
        {"not_image": 1},
    )
    assert (summary["new_scans"], summary["scored_tonight"], summary["rejected_tonight"]) == (2, 1, {"not_image": 1})
    assert world.producer(*night).returncode == 0, "the bad file is no news in the third night"
    assert world.rows("SELECT count(*), max(revision) FROM outcomes") == [(5, 1)]
    assert [sent["run_id"] for sent in summaries(hook)] == [1, 2, 3]
    assert summaries(hook)[1] == summary
    assert (world.home / "reports" / "run-2" / "report.json").exists()
    for output in (first.stderr, second.stderr, first.stdout, *(str(body) for _, _, body in hook.taken)):
        assert "canary" not in output and image_name(0)[:8] not in output and "hunter2" not in output


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_two_producers_at_once_make_one_run_and_one_summary_if_one_is_stopped(world, hook, tmp_path):
    """The stopped producer exits with 4, and the other follows the same run to its end."""
    write_images(tmp_path / "images", range(6))
    csv = write_csv(tmp_path / "sample_labels.csv", range(6))
    both = [world.start("producer.cli", "nightly", "--now", "--csv", str(csv)) for _ in range(2)]
    wait_until(lambda: world.logs().count("run 1 ") == 2, what="two producers at one run")
    both[0].send_signal(signal.SIGTERM)
    assert both[0].wait(20) == 4
    world.worker()
    assert both[1].wait(60) == 0
    assert "Traceback" not in world.logs() and "stopped: told to stop" in world.logs()
    assert world.rows("SELECT count(*) FROM runs") == [(1,)]
    ((summary),) = summaries(hook)
    assert (summary["scored"], summary["positives"], summary["negatives"]) == (6, 2, 4)


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_a_loop_that_is_stopped_amid_a_query_cancels_it(world, tmp_path):
    """A loop that waits for PostgreSQL when SIGTERM comes exits with 0 and one sentence, and its query ends."""
    csv = write_csv(tmp_path / "sample_labels.csv", range(6))
    queries = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with world.engine.begin() as connection:
        connection.execute(text("LOCK TABLE runs"))
        loop = world.start("producer.cli", "nightly", "--at", "02:00", "--csv", str(csv))
        wait_until(lambda: world.rows(queries) == [(1,)], what="a query that waits")
        loop.terminate()
        assert loop.wait(20) == 0
        assert world.rows(queries) == [(0,)]
    assert "Traceback" not in world.logs() and "stopped: told to stop" in world.logs()


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_two_loops_catch_up_on_missed_nights_in_one_run(world, hook, tmp_path):
    """Two loops that start after two missed nights make one run and one summary, and exit with 0 on SIGTERM."""
    write_images(tmp_path / "images", range(6))
    csv = write_csv(tmp_path / "sample_labels.csv", range(6))
    # The next night is half a day away, so that none starts meanwhile.
    now = datetime.now(UTC)
    at = f"{now - timedelta(hours=12):%H:%M}"
    world.worker()
    world.producer("enqueue", "--csv", csv, "--limit", "2", "--wait")
    world.env |= {"CXR_NIGHTLY_AT": at, "CXR_NIGHTLY_TZ": "UTC", "CXR_CSV": str(csv)}
    night = f"{job_id(Source(csv=csv))} {at} UTC {now.date() - timedelta(days=3)}"
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET night = :night, summarised_at = :now"), {"night": night, "now": now})
    loops = [world.start("producer.cli", "nightly") for _ in range(2)]
    wait_until(lambda: hook.taken and world.logs().count("run 2 ") >= 2, what="the night", seconds=60)
    for loop in loops:
        loop.terminate()
    assert [loop.wait(20) for loop in loops] == [0, 0]
    assert world.rows("SELECT count(*) FROM runs") == [(2,)]
    assert [(sent["run_id"], sent["scored"]) for sent in summaries(hook)] == [(2, 6)]
    assert "Traceback" not in world.logs() and image_name(0)[:8] not in world.logs()


@pytest.mark.parametrize(
    ("flags", "environment", "sentence"),
    [
        (("--csv", "x.csv"), {}, "add either --at HH:MM"),
        (("--csv", "x.csv", "--at", "02:00", "--now"), {}, "add either --at HH:MM"),
        (("--csv", "x.csv", "--at", "25:00"), {}, "--at 25:00: not a time of day"),
        (("--csv", "x.csv", "--at", "02:00", "--tz", "Berlin"), {}, "--tz Berlin: no such time zone"),
        (("--at", "02:00"), {}, "nothing to score"),
        (("--csv", "x.csv", "--at", "02:00", "--json"), {}, "--json needs --now"),
        (("--csv", "x.csv", "--now"), {"CXR_NIGHTLY_AT": "02:00"}, "x.csv"),
    ],
    ids=["when", "both", "time", "zone", "source", "json", "variable"],
)
def test_a_wrong_flag_gives_one_sentence(tmp_path, flags, environment, sentence):
    """A wrong flag ends the command with code 2 at once, and `CXR_NIGHTLY_AT` does not contradict a typed `--now`."""
    done = subprocess.run(
        [sys.executable, "-m", "producer.cli", "nightly", *flags],
        env={**os.environ, "CXR_HOME": str(tmp_path / "home"), **environment, "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
