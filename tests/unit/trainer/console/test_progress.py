import pytest

from trainer.console.progress import FitProgress, in_time


class Clock:
    """Goes on when it is told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_plain_log_says_where_the_fit_is_every_half_minute(capsys):
    """Epoch, step, images a second and the time left; the first step, which compiles, is not counted."""
    clock = Clock()
    progress = FitProgress(epochs=3, clock=clock)
    with progress.shown():
        clock.now += 60
        progress.step(epoch=1, step=1, steps=100, batch_size=32)
        for step in range(2, 42):
            clock.now += 1
            progress.step(epoch=1, step=step, steps=100, batch_size=32)
    lines = capsys.readouterr().err.splitlines()
    # 60 + 200 steps of a second each are to go after step 40.
    assert lines[0] == "epoch 1/3 step 2/100: 32 images/s, at most 5 min left"
    assert len(lines) == 2


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_time_is_told_as_people_say_it(seconds, words):
    """Not in seconds by the thousand."""
    assert in_time(seconds) == words
