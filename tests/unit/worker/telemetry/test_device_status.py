"""Deaths in a row: which count, and what ends the row."""

import pytest

from worker.telemetry.counters import ScoringCounters
from worker.telemetry.device_status import DeviceStatus, read_status, record_start, write_status

MODEL = "m" * 64
#: Kept: a context manager that is collected would end its chunk in good order.
in_hand = []


@pytest.fixture
def file(tmp_path):
    """The file of a worker that is about to start for the first time."""
    write_status(tmp_path / "status", DeviceStatus())
    record_start(tmp_path / "status")
    yield tmp_path / "status"
    while in_hand:
        in_hand.pop().__exit__(None, None, None)


def loaded(file):
    """A process that holds the model."""
    counters = ScoringCounters(file, MODEL)
    counters.loaded(name="m", runtime="hash", precision="float32")
    return counters


def die_at_work(file):
    in_hand.append(loaded(file).chunk())
    in_hand[-1].__enter__()


def test_deaths_at_load_and_at_work_count_under_the_same_parent_and_a_new_one(file):
    """Three in a row: one while it loaded, one with a chunk in hand, one whose parent died with it."""
    assert ScoringCounters(file, MODEL).deaths == 0
    die_at_work(file)
    assert read_status(file).deaths == 1
    ScoringCounters(file, MODEL)
    assert read_status(file).deaths == 2
    record_start(file)
    assert (read_status(file).deaths, read_status(file).starts) == (3, 4)
    assert ScoringCounters(file, MODEL).deaths == 3


def test_a_chunk_that_is_survived_ends_the_row(file):
    die_at_work(file)
    assert ScoringCounters(file, MODEL).deaths == 1
    with loaded(file).chunk():
        pass
    assert read_status(file).deaths == 0


def test_a_death_while_idle_or_without_a_database_does_not_count(file):
    loaded(file)
    ScoringCounters(file, MODEL).excused()
    record_start(file)
    assert ScoringCounters(file, MODEL).deaths == 0
