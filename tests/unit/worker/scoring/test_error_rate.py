"""A run is stopped by the error rate in a window of one worker's last attempts."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.scoring.error_rate import _MAX_RUNS, ErrorRates

NEW = (7, None)


def excesses(attempts, key=NEW, after=10, rate=0.5):
    """The excesses found after each attempt; an attempt is a reason or None."""
    rates, found = ErrorRates(after=after, rate=rate), []
    for reason in attempts:
        rates.record(dict([key]), reason)
        found.append([*rates.excesses([key])])
    return found


def stopped_at(attempts, **settings):
    """The number of attempts after which the run is stopped, or None."""
    return next((number for number, found in enumerate(excesses(attempts, **settings), start=1) if found), None)


def test_nothing_is_judged_before_the_window_is_full():
    """A run with fewer scans than the window is never stopped."""
    assert stopped_at(["missing"] * 9) is None
    assert stopped_at(["missing"] * 10) == 10


def test_a_source_that_goes_bad_is_noticed_within_the_window():
    """After any number of good scans, the first rejection above the rate stops the run."""
    for good in (10, 11, 1000):
        assert stopped_at([None] * good + ["missing"] * 10) == good + 6


def test_at_the_rate_a_run_goes_on():
    """The rate must be exceeded: exactly half does not stop a run, nor does one in ten."""
    assert stopped_at([None, "missing"] * 50) is None
    assert stopped_at(([None] * 9 + ["truncated"]) * 50) is None


@pytest.mark.parametrize(("rate", "attempts"), [(1.0, None), (0.9, 10), (0.0, 10)])
def test_the_rate_is_a_setting(rate, attempts):
    """A rate of 1 stops no run, and a lower one stops a run whose rate is above it."""
    assert stopped_at(["missing"] * 100, rate=rate) == attempts


def test_the_sentence_says_how_many_and_the_commonest_reason():
    """The sentence contains no name, because none is known here."""
    found = excesses(["missing"] * 2 + ["not_image"] * 5 + [None] * 3)[-1]
    assert found[0].sentence == (
        "7 of the last 10 scans that one worker tried could not be scored, most often for the reason 'not_image'"
    )


def test_runs_are_judged_each_by_itself():
    """A scan of two runs counts in both, and only the given runs are judged."""
    rates = ErrorRates(after=4, rate=0.5)
    for _ in range(4):
        rates.record({1: None, 2: None}, "missing")
        rates.record({2: None}, None)
    assert [found.run_id for found in rates.excesses([(1, None), (2, None)])] == [1]
    assert [*rates.excesses([(2, None), (3, None)])] == []


def test_a_resumed_run_starts_over():
    """Attempts before the stop do not count."""
    since = datetime(2026, 11, 26, tzinfo=UTC)
    rates = ErrorRates(after=4, rate=0.5)
    for resumed in (None, since, since + timedelta(hours=1)):
        for attempts in range(1, 5):
            rates.record({1: resumed}, "missing")
            assert bool([*rates.excesses([(1, resumed)])]) == (attempts == 4)


def test_memory_does_not_grow_with_the_runs_of_years():
    """Only the windows of the latest runs are kept."""
    rates = ErrorRates(after=4, rate=0.5)
    for run in range(10 * _MAX_RUNS):
        rates.record({run: None}, None)
    assert len(rates._windows) == _MAX_RUNS
