"""Fixtures of the tests that break something and then check the invariants.

`make test-faults` runs all of them, `make test` those that are marked `quick`.
"""

import os
import random
import secrets

import pytest

from tests.support import recovery_times
from tests.support.scenario import SCANS, Scenario, prepare, run_quietly, write_source
from tests.support.valkey import Valkey
from tests.support.world import wait_until

#: Chooses the moments of the faults. Each run draws its own seed; to repeat a failed run, set the seed that it printed.
SEED = os.environ.setdefault("FAULT_SEED", str(secrets.randbelow(1_000_000)))


def pytest_collection_modifyitems(items):
    for item in items:
        if "faults" in item.path.parts and not any(map(item.get_closest_marker, ("quick", "soak"))):
            item.add_marker("fault")


def pytest_report_header():
    return f"FAULT_SEED={SEED}"


def pytest_sessionstart(session):
    if not hasattr(session.config, "workerinput"):
        recovery_times.forget()


def pytest_terminal_summary(terminalreporter):
    if lines := recovery_times.table():
        terminalreporter.section(f"recovery from faults, FAULT_SEED={SEED}")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def rng(request):
    """A generator of random numbers that depends only on the seed and the test's name."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture(params=[1, 2], ids=["1 worker", "2 workers"])
def workers(request):
    return request.param


@pytest.fixture
def valkey():
    """A broker that only this test uses and that it may stop."""
    server = Valkey()
    yield server
    server.close()


@pytest.fixture
def valkey_port(valkey):
    return valkey.port


@pytest.fixture(scope="session")
def quiet(tmp_path_factory):
    """The outcomes of the scenario's source, scored by one worker without any fault."""
    folder = tmp_path_factory.mktemp("quiet")
    found = run_quietly(folder, write_source(folder))
    assert sum(row[0] == "scored" for row in found.outcomes.values()) == SCANS
    return found


@pytest.fixture
def harm(scenario, tmp_path):
    """Returns a function that gives the harmful scorer a command and returns the pid of the process that obeyed it."""
    word = tmp_path / "harm"
    scenario.world.env |= {"CXR_RUNTIME": "tests.support.harmful_scorer:HarmfulScorer", "HARM_FILE": str(word)}

    def victim():
        return next((int(path.suffix[1:]) for path in tmp_path.glob("harm.*")), None)

    def harm(what):
        word.write_text(what)
        wait_until(victim, 60, f"'{what}'")
        return victim()

    return harm


@pytest.fixture
def scenario(world, quiet, workers, rng, tmp_path):
    """A scenario with 99 scans. Its batches are slowed so that the fault hits a run that is under way."""
    world.env |= {"HASH_SCORER_SECONDS": "0.8", "CXR_EVENTS": "true"}
    scenario = Scenario(world=world, csv=prepare(world, tmp_path), quiet=quiet, workers=workers, rng=rng)
    yield scenario
    scenario.close()
