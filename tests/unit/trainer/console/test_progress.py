import pytest

from trainer.console.progress import FitProgress, format_duration


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
    # 60 + 200 steps of one second each are left after step 40.
    assert lines[0] == "epoch 1/3 step 2/100: 32 images/s, at most 5 min left"
    assert len(lines) == 2


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_a_duration_is_written_for_people(seconds, words):
    """In the unit that keeps the number small."""
    assert format_duration(seconds) == words
