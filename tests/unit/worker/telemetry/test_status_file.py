"""Deaths in a row: which count, and what ends the row."""

import pytest

from worker.telemetry.counters import Tally
from worker.telemetry.status_file import Status, await_process, read_status, write_status

MODEL = "m" * 64
#: What is forgotten would end in order.
in_hand = []


@pytest.fixture
def file(tmp_path):
    """The file of a worker that is about to start for the first time."""
    write_status(tmp_path / "status", Status())
    await_process(tmp_path / "status")
    yield tmp_path / "status"
    while in_hand:
        in_hand.pop().__exit__(None, None, None)


def loaded(file):
    """A process that holds the model."""
    tally = Tally(file, MODEL)
    tally.loaded(name="m", runtime="hash", precision="float32")
    return tally


def die_at_work(file):
    in_hand.append(loaded(file).chunk())
    in_hand[-1].__enter__()


def test_deaths_at_load_and_at_work_count_under_the_same_parent_and_a_new_one(file):
    """Three in a row: one while it loaded, one amid a chunk, one whose parent died with it."""
    assert Tally(file, MODEL).deaths == 0
    die_at_work(file)
    assert read_status(file).deaths == 1
    Tally(file, MODEL)
    assert read_status(file).deaths == 2
    await_process(file)
    assert (read_status(file).deaths, read_status(file).starts) == (3, 4)
    assert Tally(file, MODEL).deaths == 3


def test_a_chunk_that_is_survived_ends_the_row(file):
    die_at_work(file)
    assert Tally(file, MODEL).deaths == 1
    with loaded(file).chunk():
        pass
    assert read_status(file).deaths == 0


def test_one_that_dies_idle_or_for_want_of_a_database_does_not_count(file):
    loaded(file)
    Tally(file, MODEL).excused()
    await_process(file)
    assert Tally(file, MODEL).deaths == 0
