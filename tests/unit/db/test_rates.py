"""When a rate is known, and that two readers of one count measure the same."""

import pytest

from db.rates import MIN_SCANS, MIN_SECONDS, SlidingRate, measured_rate


@pytest.mark.parametrize(
    ("scans", "seconds", "rate"),
    [(4, 0.00001, None), (63, 3600, None), (5_000, 4.9, None), (64, 5, 12.8), (64, -5, None), (64, 0, None)],
)
def test_a_rate_needs_scans_and_seconds(scans, seconds, rate):
    """One batch, a moment, or a clock that was set back give none."""
    assert measured_rate(scans, seconds) == rate


def steady(rate, seconds, batch=32, every=2.0):
    """What a meter shows every few seconds of a count that grows by `rate` a second, a whole batch at a time."""
    meter = SlidingRate()
    moments = [every * turn for turn in range(int(seconds / every) + 1)]
    return [meter.update(now, int(now * rate / batch) * batch) for now in moments]


@pytest.mark.parametrize("rate", [0.5, 4, 20, 1_000])
def test_the_first_rate_that_is_shown_is_already_right(rate):
    """Unknown until the rule is met, then right within a third, for a slow worker as for a fast one."""
    shown = [one for one in steady(rate, 4 * (MIN_SCANS + 32) / rate + 4 * MIN_SECONDS) if one is not None]
    assert shown, "a slow worker gets a rate, too"
    assert all(0.66 * rate <= one <= 1.34 * rate for one in shown)


def test_readers_who_ask_at_other_times_measure_the_same():
    """The bar asks twice a second, a worker every two seconds."""
    bar, worker = steady(50, 120, every=0.5)[-1], steady(50, 120, every=2.0)[-1]
    assert bar == pytest.approx(worker, rel=0.05)


def test_the_seconds_before_the_first_scan_do_not_count():
    """A model that loads for a minute does not slow the rate of the scans that follow."""
    meter = SlidingRate()
    for second in range(60):
        assert meter.update(second, 0) is None
    assert [meter.update(60 + second, 100 * second) for second in range(1, 9)][-1] == 100


def test_a_rate_falls_while_nothing_is_decided():
    """It is of the last minute, not of the last time that it went well."""
    meter = SlidingRate()
    for second in range(60):
        busy = meter.update(second, 10 * second)
    assert busy == 10
    assert meter.update(119, 590) < 6
    assert meter.update(3600, 590) < 1


def test_a_count_that_falls_or_a_restart_begins_another_measurement():
    """Nothing of before is in the next rate."""
    meter = SlidingRate()
    for second in range(60):
        meter.update(second, 10 * second)
    assert meter.update(60, 0) is None
    assert [meter.update(60 + second, 50 * second) for second in range(1, 9)][-1] == 50
    meter.restart()
    assert meter.update(69, 450) is None
