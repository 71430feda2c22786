"""How long a worker that keeps dying waits."""

from tests.support.fake_clock import Clock
from worker.supervision.restart_policy import MAX_CRASHES, MAX_PAUSE, RESET_AFTER, RestartPolicy, pause_before_load


def pause(policy, clock, *, lived):
    """Start, die after `lived` seconds, and wait until a start is allowed again; seconds of the wait."""
    policy.note_start()
    clock.now += lived
    policy.note_death()
    died = clock.now
    while not policy.is_over:
        clock.now += 0.25
    return clock.now - died


def test_the_pause_doubles_up_to_half_a_minute():
    """A worker that dies at once costs ever less."""
    clock = Clock()
    policy = RestartPolicy(clock)
    assert policy.is_over
    assert [pause(policy, clock, lived=1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, MAX_PAUSE, MAX_PAUSE]


def test_a_minute_of_life_resets_the_pause():
    """One death per day is not a reason to wait."""
    clock = Clock()
    policy = RestartPolicy(clock)
    for _ in range(5):
        pause(policy, clock, lived=1)
    assert pause(policy, clock, lived=RESET_AFTER + 1) == 0.5
    assert pause(policy, clock, lived=1) == 1


def test_a_load_after_ten_deaths_in_a_row_waits_a_second_more_each_time():
    """The search for a poison scan is not held up; a worker that only dies costs ever less."""
    pauses = [pause_before_load(deaths) for deaths in (0, 10, 11, 13, MAX_CRASHES, 100)]
    assert pauses == [0, 0, 1, 3, 10, MAX_PAUSE]
