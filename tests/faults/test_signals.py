"""Workers that are told to stop, once or twice, while a chunk is in hand."""

import signal
import time

import psutil
import pytest

from tests.support import recovery_times
from tests.support.scenario import descendants, is_alive, load_seconds
from tests.support.world import wait_until
from worker.messaging.celery_app import SOFT_SHUTDOWN_SECONDS
from worker.supervision.supervisor import GRACE_SECONDS

VISIBILITY_SECONDS = 30
#: Seconds that a stop may take: 3 to finish the chunk, and 20 until a hanging process is killed.
MAX_STOP_SECONDS = SOFT_SHUTDOWN_SECONDS + GRACE_SECONDS
#: Seconds for the halving and the halves' turn in the queue.
SLACK_SECONDS = 5


@pytest.fixture
def scenario(scenario):
    """The scenario with a long visibility timeout, so that a chunk only returns in time if it is handed back."""
    scenario.world.env["CXR_VISIBILITY_TIMEOUT"] = str(VISIBILITY_SECONDS)
    return scenario


@pytest.fixture
def busy_worker(scenario, harm):
    """Returns a function that returns a worker that hangs with a chunk in hand, and its load time in seconds."""

    def busy_worker():
        first = scenario.start()
        load = load_seconds(scenario, first)
        victim = psutil.Process(harm("hang at score"))
        return next(worker for worker in scenario.running if victim in descendants(worker)), load

    return busy_worker


def replace_if_alone(scenario):
    """Start a new worker if there is no peer."""
    if scenario.workers == 1:
        scenario.worker()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_stopped_worker_hands_its_chunk_back(scenario, busy_worker, number):
    """It exits with 0 and leaves no process, and a peer goes on with its chunk."""
    worker, load = busy_worker()
    lost, processes = scenario.held_by_somebody(), descendants(worker)
    assert scenario.waits_for(lost)
    worker.send_signal(number)
    asked = time.monotonic()
    assert worker.wait(MAX_STOP_SECONDS) == 0
    stopped = time.monotonic()
    recovery_times.record(
        f"{number.name}: until the exit", workers=scenario.workers, seconds=stopped - asked, stated=MAX_STOP_SECONDS
    )
    wait_until(lambda: not any(map(is_alive, processes)), 5, "the end of its processes")
    replace_if_alone(scenario)
    stated = SLACK_SECONDS + (load if scenario.workers == 1 else 0)
    # With one worker, the chunk's halves first wait for their turn in the queue.
    lost = lost if scenario.workers > 1 else None
    scenario.recovers(f"{number.name}, from the exit on", since=stopped, stated=stated, lost=lost)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_stops_a_worker_at_once_and_its_chunk_comes_back(scenario, busy_worker, number):
    """The second signal prevents the handing back, and the visibility timeout returns the chunk."""
    scenario.world.env["CXR_VISIBILITY_TIMEOUT"] = "5"
    worker, load = busy_worker()
    lost, processes = scenario.held_by_somebody(), descendants(worker)
    assert scenario.waits_for(lost)
    worker.send_signal(number)
    time.sleep(scenario.rng.uniform(0.1, 1))
    worker.send_signal(number)
    asked = time.monotonic()
    assert worker.wait(MAX_STOP_SECONDS) == 0
    wait_until(lambda: not any(map(is_alive, processes)), 5, "the end of its processes")
    replace_if_alone(scenario)
    stated = 5 + SLACK_SECONDS + (load if scenario.workers == 1 else 0)
    scenario.recovers(f"{number.name} twice", since=asked, stated=stated, lost=lost)
    scenario.finish()
    scenario.check()


def test_a_stopped_celery_worker_is_started_again(scenario, busy_worker):
    """SIGQUIT to the Celery process under the supervisor hands the chunk back, too."""
    worker, load = busy_worker()
    lost = scenario.held_by_somebody()
    parent = next(child for child in psutil.Process(worker.pid).children() if "worker.celery_worker" in child.cmdline())
    parent.send_signal(signal.SIGQUIT)
    wait_until(lambda: not is_alive(parent), MAX_STOP_SECONDS, "its end")
    stopped = time.monotonic()
    assert worker.poll() is None
    # With one worker, its model is loaded again first.
    stated = SLACK_SECONDS + (load if scenario.workers == 1 else 0)
    lost = lost if scenario.workers > 1 else None
    scenario.recovers("SIGQUIT to the celery worker", since=stopped, stated=stated, lost=lost)
    scenario.finish()
    scenario.check()
