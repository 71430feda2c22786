"""How long a worker that keeps dying waits."""

from worker.supervision.restart_policy import LONGEST, MAX_CRASHES, STEADY, RestartPolicy, pause_before_load


class Clock:
    """Seconds, moved by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def pause(back_off, clock, *, lived):
    """Start, die after so many seconds, and wait until a start is allowed again."""
    back_off.note_start()
    clock.now += lived
    back_off.note_death()
    died = clock.now
    while not back_off.is_over:
        clock.now += 0.25
    return clock.now - died


def test_the_pause_doubles_up_to_half_a_minute():
    """A worker that dies at once costs ever less."""
    clock = Clock()
    back_off = RestartPolicy(clock)
    assert back_off.is_over
    assert [pause(back_off, clock, lived=1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, LONGEST, LONGEST]


def test_a_minute_of_life_resets_the_pause():
    """One death a day is no reason to wait."""
    clock = Clock()
    back_off = RestartPolicy(clock)
    for _ in range(5):
        pause(back_off, clock, lived=1)
    assert pause(back_off, clock, lived=STEADY + 1) == 0.5
    assert pause(back_off, clock, lived=1) == 1


def test_a_load_after_ten_deaths_in_a_row_waits_a_second_more_each_time():
    """Who looks for a deadly scan is not held up; who only dies costs ever less."""
    pauses = [pause_before_load(deaths) for deaths in (0, 10, 11, 13, MAX_CRASHES, 100)]
    assert pauses == [0, 0, 1, 3, 10, LONGEST]
