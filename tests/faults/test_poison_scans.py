"""Scans that kill the process that scores them, and slow scans that only seem to."""

import math
import time

import cv2
import numpy as np
import pytest

from db.ledger.outcomes import ATTEMPTS_CAP
from tests.support.harmful_scorer import poison_image
from tests.support.scenario import name_of, run_quietly, scoring_process_load_seconds
from tests.support.world import wait_until, write_csv
from worker.scoring.process import LONE_SCAN_BUDGETS

CHUNK = 16
#: Deaths until a poison scan is alone in its chunk, and the attempts that it then has.
MAX_DEATHS = math.ceil(math.log2(CHUNK)) + ATTEMPTS_CAP
#: Seconds that each death may cost in addition to loading the model.
SLACK_SECONDS = 5


@pytest.fixture
def small_source(scenario):
    """Returns a function that gives the scenario a source of its first `scans` scans; `harms` is `{number: harm}`."""

    def small_source(scans, harms=None):
        images = scenario.csv.parent / "images"
        scenario.csv = write_csv(scenario.csv.parent / "few.csv", range(scans), name_of=name_of)
        rng = np.random.default_rng(scenario.rng.getrandbits(32))
        for number, harm in (harms or {}).items():
            cv2.imwrite(str(images / name_of(number)), poison_image(rng, harm))
        poison = [name_of(number) for number in harms or {}]
        scenario.quiet = run_quietly(scenario.csv.parent / "quiet", scenario.csv, quarantined=poison)
        scenario.world.env |= {"CXR_RUNTIME": "tests.support.harmful_scorer:HarmfulScorer", "HASH_SCORER_SECONDS": "0"}
        return poison

    return small_source


def ids_of(scenario, images):
    query = "SELECT o.id FROM outcomes o JOIN scans s ON s.id = o.scan_id WHERE s.image_name = :name"
    return [scenario.world.rows(query, name=name)[0][0] for name in images]


def loads(scenario):
    return scenario.world.logs().count("loaded: ")


def start_loaded(scenario):
    """Start the scenario's workers, wait until all have loaded the model, and return one."""
    workers = [scenario.worker() for _ in range(scenario.workers)]
    wait_until(lambda: loads(scenario) == scenario.workers, 60, f"loaded models\n{scenario.world.logs()}")
    return workers[0]


@pytest.mark.parametrize(
    ("world", "harm"), [("sqlite and embedded", "memory"), ("postgresql and separate", "segfault")], indirect=["world"]
)
def test_a_poison_scan_is_quarantined_and_its_neighbours_are_scored(scenario, small_source, harm):
    """Halving isolates a scan that kills its process or asks for too much memory; it is tried alone up to the cap."""
    poison = small_source(32, {scenario.rng.randrange(32): harm})
    worker = start_loaded(scenario)
    load = scoring_process_load_seconds(scenario, worker)
    scenario.enqueue()
    scenario.recovers(
        f"poison scan: {harm}",
        since=time.monotonic(),
        stated=MAX_DEATHS * (load + SLACK_SECONDS),
        lost=ids_of(scenario, poison),
    )
    scenario.finish()
    scenario.check()
    if harm != "memory":
        assert loads(scenario) - scenario.workers >= ATTEMPTS_CAP


def test_several_poison_scans_are_all_found(scenario, small_source):
    """Three poison scans of three kinds in one or two chunks are found, and no other scan is blamed."""
    numbers = scenario.rng.sample(range(24), 3)
    small_source(24, dict(zip(numbers, ("segfault", "kill", "memory"), strict=True)))
    worker = start_loaded(scenario)
    scenario.enqueue()
    began = time.monotonic()
    scenario.finish(seconds=240)
    # Two of the three kinds kill their process; poison scans in one chunk share a death.
    stated = 2 * MAX_DEATHS * (scoring_process_load_seconds(scenario, worker) + SLACK_SECONDS)
    scenario.ends("three poison scans at once", since=began, stated=stated)
    scenario.check()
    assert loads(scenario) - scenario.workers >= ATTEMPTS_CAP


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_a_scan_whose_decoder_hangs_is_quarantined_and_its_neighbours_are_scored(scenario, small_source):
    """Other scans overtake it, and each process that it holds up ends itself when the time for the chunk is over."""
    poison = small_source(32, {scenario.rng.randrange(32): "hang"})
    worker = start_loaded(scenario)
    load = scoring_process_load_seconds(scenario, worker)
    scenario.enqueue()
    budget = float(scenario.world.env["CXR_TIME_BUDGET"])
    scenario.recovers(
        "decoder that hangs",
        since=time.monotonic(),
        stated=MAX_DEATHS * (load + SLACK_SECONDS + budget) + ATTEMPTS_CAP * LONE_SCAN_BUDGETS * budget,
        lost=ids_of(scenario, poison),
    )
    scenario.finish()
    scenario.check()
    assert "a decoder hangs" in scenario.world.logs()


@pytest.mark.parametrize("workers", [1, 2, 4], indirect=True)
def test_a_batch_slower_than_the_visibility_timeout_blames_no_scan(scenario, small_source):
    """Its chunk is redelivered while it is still in hand, yet no scan is quarantined or scored twice."""
    small_source(16)
    scenario.world.env["HASH_SCORER_SECONDS"] = "8"
    start_loaded(scenario)
    scenario.enqueue()
    began = time.monotonic()
    scenario.finish(seconds=200)
    # Two batches, and a third that starts before another worker decides its scans.
    scenario.ends("batch of 8 s, visibility timeout 5 s", since=began, stated=3 * 8 + SLACK_SECONDS)
    scenario.check()
    assert scenario.world.rows("SELECT max(attempts) FROM outcomes") == [(0,)]
    assert loads(scenario) == scenario.workers, "somebody died"


@pytest.mark.parametrize("workers", [4], indirect=True)
def test_a_lone_scan_that_outlasts_its_visibility_timeout_four_times_is_not_a_poison_scan(scenario, small_source):
    """Three idle workers receive it while the first still scores it, and none of them counts an attempt."""
    small_source(1)
    scenario.world.env["HASH_SCORER_SECONDS"] = "24"
    start_loaded(scenario)
    scenario.enqueue()
    began = time.monotonic()
    scenario.ends("lone scan of 24 s, visibility timeout 5 s", since=began, stated=24 + SLACK_SECONDS)
    scenario.check()
    assert scenario.world.rows("SELECT attempts FROM outcomes") == [(0,)]
