"""Whatever dies on the way, the run ends with the fault-free run's rows."""

import cv2
import numpy as np
import pytest
from hash_scorer import DEADLY
from world import hash_artifact, image_name, kill_tree, scoring_process, wait_until, write_csv, write_images

from worker.app import make_app, send_chunk
from worker.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

SCANS = range(96)
WHOLE = "SELECT image_name, state, abnormal, effusion, hernia, revision FROM results_wide ORDER BY image_name"


@pytest.fixture
def source(world, tmp_path):
    """96 scans in 6 chunks, each batch slowed so that a fault lands in the middle."""
    write_images(tmp_path / "images", SCANS)
    hash_artifact(world.home / "models")
    world.env["HASH_SCORER_SECONDS"] = "0.8"
    return write_csv(tmp_path / "sample_labels.csv", SCANS)


@pytest.fixture
def fault_free(source, tmp_path):
    """The rows of a run in which nothing went wrong, computed without queue or worker."""
    from hash_scorer import hash_scores
    from world import radiograph

    from db.findings import FINDINGS
    from worker.manifest import Preprocessing
    from worker.pixels import preprocess

    rule = Preprocessing(height=32, width=32)
    places = [FINDINGS.index(finding) for finding in ("Abnormal", "Effusion", "Hernia")]
    rows = []
    for number in SCANS:
        scores = hash_scores(preprocess(radiograph(number), rule), len(FINDINGS)).astype(float)
        rows.append((image_name(number), "scored", *(float(scores[place]) for place in places), 1))
    return sorted(rows)


def scored(world):
    return world.rows("SELECT count(*) FROM scores")[0][0]


def start_and_reach_the_middle(world, source):
    worker = world.worker()
    world.producer("enqueue", "--csv", source)
    wait_until(lambda: scored(world) >= 16, what="the first outcomes")
    assert scored(world) < len(SCANS)
    return worker


def finish(world, seconds):
    wait_until(
        lambda: world.rows("SELECT count(*) FROM runs WHERE finished_at IS NOT NULL") == [(1,)],
        seconds=seconds,
        what="the run's end\n" + world.logs(),
    )
    assert world.rows("SELECT pending, quarantined FROM run_progress") == [(0, 0)]


def test_a_killed_child_loses_nothing(world, source, fault_free):
    """SIGKILL of the process that scores: a new one loads the model and the run ends with the same rows."""
    worker = start_and_reach_the_middle(world, source)
    child = scoring_process(worker)
    child.kill()
    child.wait(5)
    assert scored(world) < len(SCANS)
    finish(world, 60)
    assert world.rows(WHOLE) == fault_free


def test_a_killed_worker_loses_nothing(world, source, fault_free):
    """SIGKILL of supervisor, parent and child (and an embedded broker with them): a peer ends the run."""
    worker = start_and_reach_the_middle(world, source)
    kill_tree(worker.pid)
    assert scored(world) < len(SCANS)
    world.worker()
    finish(world, 60)
    assert world.rows(WHOLE) == fault_free


def test_a_flushed_broker_loses_nothing(world, source, fault_free):
    """FLUSHALL while scans are pending: SQL is the ledger, and the sweep sends them again."""
    start_and_reach_the_middle(world, source)
    world.broker.flushall()
    assert scored(world) < len(SCANS)
    finish(world, 60)
    assert world.rows(WHOLE) == fault_free


def test_a_stopped_worker_hands_its_chunk_back(world, source, fault_free):
    """SIGTERM: the worker ends with 0, and a peer ends the run with the same rows."""
    worker = start_and_reach_the_middle(world, source)
    worker.terminate()
    assert worker.wait(30) == 0
    assert scored(world) < len(SCANS)
    world.worker()
    finish(world, 60)
    assert world.rows(WHOLE) == fault_free


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_a_chunk_from_before_a_restored_backup_gives_no_scan_anothers_scores(world, source, fault_free):
    """Its outcome ids were given again since: what counts is the scan that SQL has under the id."""
    world.producer("enqueue", "--csv", source)
    waiting = world.rows(
        "SELECT o.id, s.location FROM outcomes o JOIN scans s ON s.id = o.scan_id "
        "WHERE o.state = 'pending' ORDER BY o.id"
    )
    ids, locations = zip(*waiting, strict=True)
    others = [ChunkScan(outcome_id=key, location=where) for key, where in zip(ids, reversed(locations), strict=True)]
    model = world.rows("SELECT sha256 FROM models")[0][0]
    world.broker.flushall()
    send_chunk(
        make_app(WorkerSettings(broker_url=world.env["CXR_BROKER_URL"])), Chunk(model=model, scans=tuple(others))
    )
    world.worker()
    finish(world, 60)
    assert world.rows(WHOLE) == fault_free


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_an_input_that_kills_its_worker_is_quarantined_and_its_neighbours_are_scored(world, tmp_path):
    """The deadly scan is found by halving and quarantined at the cap; nobody else is touched."""
    write_images(tmp_path / "images", range(16))
    deadly = np.random.default_rng(6).integers(DEADLY, 256, (96, 96), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "images" / image_name(6)), deadly)
    hash_artifact(world.home / "models")
    world.producer("enqueue", "--csv", write_csv(tmp_path / "sample_labels.csv", range(16)))
    world.worker()
    wait_until(lambda: world.rows("SELECT pending FROM run_progress") == [(0,)], seconds=150, what=world.logs())
    assert world.rows("SELECT scored, rejected, quarantined FROM run_progress") == [(15, 0, 1)]
    assert world.rows("SELECT image_name, reason FROM results_wide WHERE state = 'quarantined'") == [
        (image_name(6), "killed_worker")
    ]
    assert world.rows("SELECT max(attempts), sum(attempts) FROM outcomes") == [(3, 3)]
