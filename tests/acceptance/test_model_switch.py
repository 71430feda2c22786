"""A worker without `--model` follows the active model and first finishes the runs of the former one."""

import shutil

import pytest

from tests.support.hash_scorer import UNLOADABLE
from tests.support.world import embedded_first, hash_artifact, scoring_process, wait_until, write_csv, write_images

SCANS = range(32)


@pytest.fixture
def csv(tmp_path):
    write_images(tmp_path / "images", SCANS)
    return write_csv(tmp_path / "sample_labels.csv", SCANS)


def publish(world, name):
    return hash_artifact(world.home / "models", name=name)


def finished(world, run_id):
    """Return whether every scan of a run is scored."""
    query = "SELECT scored, finished_at IS NOT NULL FROM run_progress WHERE run_id = :run"
    return [tuple(map(int, row)) for row in world.rows(query, run=run_id)] == [(len(SCANS), 1)]


def wait_for(world, run_id):
    wait_until(lambda: finished(world, run_id), seconds=60, what=f"the end of run {run_id}\n{world.logs()}")


@pytest.mark.slow
@embedded_first
def test_the_active_model_is_followed_and_rolled_back_without_a_restart(world, csv):
    """One `worker start` waits for a first model, then finishes A's run with A, B's with B and the next with A."""
    worker = world.worker()
    wait_until(lambda: "no model is there yet" in world.logs())
    publish(world, "a")
    wait_until(lambda: "loaded: hash" in world.logs(), what=world.logs())
    # The process is suspended while its run is opened, so that the result does not depend on timing.
    child = scoring_process(worker)
    child.suspend()
    world.producer("enqueue", "--csv", csv)

    publish(world, "b")
    printed = world.producer("model", "activate", "b").stdout
    assert f"{len(SCANS)} scans still wait for a; its workers score them first" in printed
    world.producer("enqueue", "--csv", csv)
    child.resume()
    wait_for(world, 2)
    assert finished(world, 1)
    spans = world.rows("SELECT model, min(scored_at), max(scored_at) FROM results_wide GROUP BY model ORDER BY model")
    assert spans[0][2] < spans[1][1], "a's last scan was scored before b's first"

    assert "still wait" not in world.producer("model", "activate", "a").stdout
    world.producer("enqueue", "--csv", csv, "--rescore")
    wait_for(world, 3)
    assert world.rows("SELECT run_id, model FROM run_progress ORDER BY run_id") == [(1, "a"), (2, "b"), (3, "a")]
    assert worker.poll() is None
    assert world.logs().count("no model is there yet") == 1


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_a_damaged_or_unloadable_model_does_not_replace_the_former_one(world, csv):
    """A model that is damaged or fails to load is reported in one sentence, and the former one goes on scoring."""
    publish(world, "a")
    damaged = publish(world, "b")
    world.producer("model", "list")
    (damaged.folder / "model.keras").write_bytes(b"other weights")
    worker = world.worker()
    wait_until(lambda: "loaded: hash" in world.logs(), what=world.logs())
    world.producer("model", "activate", "b")
    wait_until(lambda: "model b cannot be served" in world.logs())
    assert world.logs().count("loaded: hash") == 1, "the scoring process was not restarted"
    publish(world, UNLOADABLE)
    world.producer("model", "activate", UNLOADABLE)
    world.producer("enqueue", "--csv", csv)
    wait_until(lambda: f"model {UNLOADABLE} cannot be served" in world.logs(), what=world.logs())
    world.producer("enqueue", "--csv", csv, "--model", "a")
    wait_for(world, 2)
    assert world.rows("SELECT pending FROM run_progress WHERE run_id = 1") == [(len(SCANS),)]
    assert world.logs().count("cannot be served") == 2
    assert worker.poll() is None


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_a_requested_model_is_never_replaced(world, csv):
    """With `--model`, scans of other models wait, and a model that does not exist is an error at once."""
    publish(world, "a")
    worker = world.start("worker.cli", "start", "--gpus", "none", "--model", "a")
    publish(world, "b")
    world.producer("enqueue", "--csv", csv, "--model", "b")
    world.producer("model", "activate", "b")
    world.producer("enqueue", "--csv", csv, "--model", "a")
    wait_for(world, 2)
    assert world.rows("SELECT scored FROM run_progress WHERE run_id = 1") == [(0,)]
    worker.terminate()
    assert worker.wait(40) == 0
    assert world.start("worker.cli", "start", "--gpus", "none", "--model", "c").wait(30) == 2
    assert "error: no model 'c' is registered" in world.logs()


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_a_worker_that_waits_for_a_model_can_be_stopped(world):
    """SIGTERM ends a waiting worker with exit code 0, like any other worker."""
    worker = world.worker()
    wait_until(lambda: "no model is there yet" in world.logs())
    worker.terminate()
    assert worker.wait(20) == 0


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_a_worker_that_waits_for_a_model_survives_a_damaged_one(world):
    """The worker reports an incomplete or missing model in one sentence and loads the first complete one."""
    worker = world.worker()
    wait_until(lambda: "no model is there yet" in world.logs())
    damaged = publish(world, "a")
    (damaged.folder / "model.keras").write_bytes(b"half")
    wait_until(lambda: "a model folder is ignored" in world.logs(), what=world.logs())
    shutil.rmtree(damaged.folder)
    publish(world, "b")
    wait_until(lambda: "loaded: hash" in world.logs(), what=world.logs())
    assert worker.poll() is None
