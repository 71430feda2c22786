import re

import pytest

from trainer.console.progress import FitProgress, format_duration, peak_memory


class Clock:
    """A clock whose time the test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_without_a_terminal_a_line_every_half_minute_shows_the_progress(capsys):
    """Epoch, step, images per second and time left; the first step is not counted, because it compiles."""
    clock = Clock()
    progress = FitProgress(epochs=3, clock=clock)
    with progress.live():
        clock.now += 60
        progress.step(epoch=1, step=1, steps=100, batch_size=32)
        for step in range(2, 42):
            clock.now += 1
            progress.step(epoch=1, step=step, steps=100, batch_size=32)
    lines = capsys.readouterr().err.splitlines()
    # The cost was told at step 11. 59 + 200 steps of one second each are left after step 41.
    assert lines[1:] == ["epoch 1/3 step 41/100: 32 images/s, at most 4 min left"]


def test_a_fit_says_once_how_long_it_takes_and_how_much_memory(capsys):
    """As soon as some steps are measured, of which the first is none; a resumed fit counts the epochs that are left."""
    clock = Clock()
    progress = FitProgress(epochs=3, clock=clock)
    for epoch in (2, 3):
        clock.now += 600
        for step in range(1, 101):
            progress.step(epoch=epoch, step=step, steps=100, batch_size=32)
            if (epoch, step) == (2, 4):
                (line,) = [line for line in capsys.readouterr().err.splitlines() if "memory" in line]
            clock.now += 10
    # 2 epochs of 100 steps of 10 seconds.
    assert re.fullmatch(r"about 33 min for 2 epochs at most, \d+\.\d GB of memory so far", line)
    assert "memory" not in capsys.readouterr().err


def test_short_epochs_are_measured_as_a_whole(capsys):
    """Steps of a millisecond are too short to tell anything before."""
    clock = Clock()
    progress = FitProgress(epochs=1, clock=clock)
    for step in range(1, 11):
        progress.step(epoch=1, step=step, steps=10, batch_size=32)
        assert ("about 0 s for 1 epoch, " in capsys.readouterr().err) == (step == 10)
        clock.now += 0.001


def test_memory_is_given_in_bytes():
    """As much as this process was seen to need at least, and not more than a hundred times that."""
    held = b"x" * 50_000_000
    assert len(held) < peak_memory() < 100 * len(held) + 50_000_000_000


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_a_duration_is_written_for_people(seconds, words):
    """In the unit that keeps the number small."""
    assert format_duration(seconds) == words
