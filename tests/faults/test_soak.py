"""A soak test: the same source is scored undisturbed, and then with a kill every few seconds."""

import contextlib
import json
import os
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.support.invariants import run_results
from tests.support.scenario import DAMAGED, Scenario, prepare
from tests.support.world import kill_tree, scoring_process, wait_until

SCANS = int(os.environ.get("SOAK_SCANS", "20000"))
WORKERS = 3
#: Seconds between two kills, and between two restarts of the broker.
KILL_EVERY = 5.0
RESTART_EVERY = 30.0
REPORT = Path("build/soak.json")


@pytest.fixture
def scenario(world, rng, tmp_path):
    """A scenario whose batches cost as much as a fast GPU's, so that many kills hit a run."""
    world.env |= {"HASH_SCORER_SECONDS": "0.1", "CXR_CHUNK_SIZE": "64", "CXR_SWEEP_INTERVAL": "2"}
    world.env |= {"CXR_TIME_BUDGET": "5", "CXR_VISIBILITY_TIMEOUT": "15", "CXR_EVENTS": "true"}
    scenario = Scenario(world=world, csv=prepare(world, tmp_path, SCANS), quiet=None, workers=WORKERS, rng=rng)
    yield scenario
    scenario.close()


class FaultInjector:
    """Kills a random part of a worker, and restarts the parts that no supervisor restarts."""

    def __init__(self, scenario, valkey):
        self._scenario = scenario
        self._valkey = valkey
        self.done = Counter()

    def kill(self):
        """Kill a scoring process, the Celery process above it, or a whole worker, as if its machine were gone."""
        scenario = self._scenario
        victim = scenario.rng.choice(scenario.running)
        part = scenario.rng.choice(("child", "parent", "worker"))
        if part == "worker":
            kill_tree(victim.pid)
            scenario.running.remove(victim)
            # As systemd or Docker would.
            scenario.worker()
        elif (process := _part_of(victim, part)) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        else:
            # The process is being restarted, so there is nothing to kill.
            return
        self.done[part] += 1

    def restart_broker(self):
        """Stop or kill the broker, and start it again."""
        self.done["broker"] += 1
        self._scenario.rng.choice((self._valkey.stop, self._valkey.kill))()
        self._valkey.start()


def _part_of(worker, part):
    if part == "child":
        return scoring_process(worker)
    with contextlib.suppress(psutil.NoSuchProcess):
        return next(
            (child for child in psutil.Process(worker.pid).children() if "worker.celery_worker" in child.cmdline()),
            None,
        )
    return None


def score(scenario, *arguments, meanwhile=lambda: None):
    """Score one run to its end, and return its number and the seconds that it took."""
    scenario.enqueue(*arguments)
    run = scenario.world.rows("SELECT max(id) FROM runs")[0][0]
    started = time.monotonic()
    query = "SELECT finished_at IS NOT NULL FROM runs WHERE id = :run"

    def finished():
        meanwhile()
        return scenario.world.rows(query, run=run)[0][0]

    wait_until(finished, 3600, f"the end of run {run}")
    return run, time.monotonic() - started


def on_schedule(scenario, injector):
    """Return a function that `score` calls repeatedly and that injects each fault when it is due."""
    now = time.monotonic()
    due = {injector.kill: (now + KILL_EVERY, KILL_EVERY), injector.restart_broker: (now + RESTART_EVERY, RESTART_EVERY)}

    def inject_due_faults():
        for inject, (at, every) in due.items():
            if time.monotonic() >= at and scenario.pending():
                due[inject] = (time.monotonic() + every, every)
                inject()

    return inject_due_faults


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_a_run_under_constant_kills_ends_like_an_undisturbed_run(scenario, valkey):
    """Every invariant holds after a kill every 5 s and a broker restart every 30 s; the report gives the cost."""
    for _ in range(WORKERS):
        scenario.worker()
    first, quiet_seconds = score(scenario)
    scenario.quiet = run_results(scenario.world, first)
    assert sum(row[0] == "scored" for row in scenario.quiet.outcomes.values()) == SCANS
    assert len(scenario.quiet.outcomes) == SCANS + len(DAMAGED)
    injector = FaultInjector(scenario, valkey)
    last, seconds = score(scenario, "--rescore", meanwhile=on_schedule(scenario, injector))
    scenario.check(run=last)
    attempts = scenario.world.rows("SELECT max(attempts), sum(attempts) FROM outcomes")[0]
    totals = {
        "scans": SCANS,
        "workers": WORKERS,
        "killed": dict(injector.done),
        "quiet_seconds": round(quiet_seconds, 1),
        "seconds": round(seconds, 1),
        "attempts_most_and_sum": [int(count) for count in attempts],
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(totals, indent=2) + "\n")
    print(f"\n{json.dumps(totals)}")
