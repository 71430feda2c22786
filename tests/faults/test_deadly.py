"""Inputs that harm whoever scores them, and inputs that only seem to."""

import math
import time

import cv2
import numpy as np
import pytest

from db.ledger.outcomes import ATTEMPTS_CAP
from tests.support.harmful_scorer import deadly_image
from tests.support.scenario import child_load_seconds, name_of, run_quietly
from tests.support.world import wait_until, write_csv

CHUNK = 16
#: Deaths until a deadly scan is alone, and those that it is then allowed.
DEATHS = math.ceil(math.log2(CHUNK)) + ATTEMPTS_CAP
#: Seconds beyond a model's load that each of them may cost.
SLACK = 5


@pytest.fixture
def few(stage):
    """Gives the stage another source: so many of its scans, some of which do harm; `{number: harm}`."""

    def few(scans, harms=None):
        images = stage.csv.parent / "images"
        stage.csv = write_csv(stage.csv.parent / "few.csv", range(scans), name_of=name_of)
        rng = np.random.default_rng(stage.rng.getrandbits(32))
        for number, harm in (harms or {}).items():
            cv2.imwrite(str(images / name_of(number)), deadly_image(rng, harm))
        deadly = [name_of(number) for number in harms or {}]
        stage.quiet = run_quietly(stage.csv.parent / "quiet", stage.csv, quarantined=deadly)
        stage.world.env |= {"CXR_RUNTIME": "tests.support.harmful_scorer:HarmfulScorer", "HASH_SCORER_SECONDS": "0"}
        return deadly

    return few


def ids_of(stage, images):
    query = "SELECT o.id FROM outcomes o JOIN scans s ON s.id = o.scan_id WHERE s.image_name = :name"
    return [stage.world.rows(query, name=name)[0][0] for name in images]


def loads(stage):
    return stage.world.logs().count("loaded: ")


def start_loaded(stage):
    """The stage's workers, once all hold the model: gives one."""
    workers = [stage.worker() for _ in range(stage.workers)]
    wait_until(lambda: loads(stage) == stage.workers, 60, f"loaded models\n{stage.world.logs()}")
    return workers[0]


@pytest.mark.parametrize(
    ("world", "harm"), [("sqlite and embedded", "memory"), ("postgresql and separate", "segfault")], indirect=["world"]
)
def test_a_deadly_scan_is_quarantined_and_its_neighbours_are_scored(stage, few, harm):
    """Found by halving and tried alone up to the cap, whether it ends its process or asks for too much memory."""
    deadly = few(32, {stage.rng.randrange(32): harm})
    worker = start_loaded(stage)
    load = child_load_seconds(stage, worker)
    stage.enqueue()
    stage.recovers(
        f"deadly scan: {harm}", since=time.monotonic(), stated=DEATHS * (load + SLACK), lost=ids_of(stage, deadly)
    )
    stage.finish()
    stage.check()
    if harm != "memory":
        assert loads(stage) - stage.workers >= ATTEMPTS_CAP


def test_several_deadly_scans_are_all_found(stage, few):
    """Three of them, of three kinds, in one chunk or two: nobody near them is blamed."""
    numbers = stage.rng.sample(range(24), 3)
    few(24, dict(zip(numbers, ("segfault", "kill", "memory"), strict=True)))
    worker = start_loaded(stage)
    stage.enqueue()
    began = time.monotonic()
    stage.finish(seconds=240)
    # Two of them die; one that has company dies with it.
    stated = 2 * DEATHS * (child_load_seconds(stage, worker) + SLACK)
    stage.ends("three deadly scans at once", since=began, stated=stated)
    stage.check()
    assert loads(stage) - stage.workers >= ATTEMPTS_CAP


@pytest.mark.parametrize("workers", [1, 2, 4], indirect=True)
def test_a_batch_slower_than_the_visibility_timeout_is_nobodys_fault(stage, few):
    """Its chunk comes again and again while it is still in hand: nothing is quarantined, nothing is scored twice."""
    few(16)
    stage.world.env["HASH_SCORER_SECONDS"] = "8"
    start_loaded(stage)
    stage.enqueue()
    began = time.monotonic()
    stage.finish(seconds=200)
    # Two batches, and a third that is taken up before its scans are decided elsewhere.
    stage.ends("batch of 8 s, visibility timeout 5 s", since=began, stated=3 * 8 + SLACK)
    stage.check()
    assert stage.world.rows("SELECT max(attempts) FROM outcomes") == [(0,)]
    assert loads(stage) == stage.workers, "somebody died"


@pytest.mark.parametrize("workers", [4], indirect=True)
def test_a_lone_scan_that_outlasts_its_visibility_timeout_four_times_is_no_deadly_one(stage, few):
    """Three idle workers are given it while the first still works on it: none of them counts an attempt."""
    few(1)
    stage.world.env["HASH_SCORER_SECONDS"] = "24"
    start_loaded(stage)
    stage.enqueue()
    began = time.monotonic()
    stage.ends("lone scan of 24 s, visibility timeout 5 s", since=began, stated=24 + SLACK)
    stage.check()
    assert stage.world.rows("SELECT attempts FROM outcomes") == [(0,)]
