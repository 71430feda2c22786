"""How long a worker that keeps dying waits before it is started again."""

import time
from collections.abc import Callable
from typing import Final

#: Seconds before a dead worker is started again: the pause doubles at each death and is reset by a minute of life.
FIRST_PAUSE: Final = 0.5
MAX_PAUSE: Final = 30.0
RESET_AFTER: Final = 60.0
#: Deaths in a row without a pause before the next load: they may be the search for a poison scan in a large chunk.
FREE_RESTARTS: Final = 10
#: Deaths in a row after which the worker is given up. A poison scan in the largest chunk (10,000) is found and
#: quarantined after 14 halvings and 3 deaths alone, and its neighbours are scored in between.
MAX_CRASHES: Final = 20


def pause_before_load(deaths: int) -> float:
    """Seconds that a process waits before it loads the model.

    Args:
        deaths: its predecessors in a row that died without deciding a scan.
    """
    return min(MAX_PAUSE, max(0.0, deaths - FREE_RESTARTS))


class RestartPolicy:
    """The pauses of one worker. `clock` gives seconds that never run backward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause = FIRST_PAUSE
        self._started = clock()
        self._not_before = clock()

    @property
    def is_over(self) -> bool:
        """Whether the pause is over, so that the worker may be started."""
        return self._clock() >= self._not_before

    def note_start(self) -> None:
        """Record that the worker was started."""
        self._started = self._clock()

    def note_death(self) -> None:
        """Record that the worker died: it waits twice as long as before, or the first pause if it had lived long."""
        now = self._clock()
        if now - self._started > RESET_AFTER:
            self._pause = FIRST_PAUSE
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE)
