"""How long a worker that keeps dying waits before it is started again."""

import time
from collections.abc import Callable
from typing import Final

#: Seconds before a dead worker is started again: doubled at each death, reset by a minute of life.
FIRST: Final = 0.5
LONGEST: Final = 30.0
STEADY: Final = 60.0
#: Deaths in a row without a pause before the next load: a deadly scan in the largest chunk is on its way to be found.
FREE_RESTARTS: Final = 10
#: Deaths in a row after which there is no hope. A deadly scan in the largest chunk (10,000) is found and quarantined
#: after 14 halvings and 3 deaths alone, and its neighbours are scored in between.
MAX_CRASHES: Final = 20


def pause_before_load(deaths: int) -> float:
    """Seconds that a process waits before it loads the model, after so many deaths in a row without a decided scan."""
    return min(LONGEST, max(0.0, deaths - FREE_RESTARTS))


class RestartPolicy:
    """The pauses of one worker. `clock` gives seconds that never run backward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause = FIRST
        self._started = clock()
        self._not_before = clock()

    @property
    def is_over(self) -> bool:
        """Whether the worker may be started now."""
        return self._clock() >= self._not_before

    def note_start(self) -> None:
        """The worker was started."""
        self._started = self._clock()

    def note_death(self) -> None:
        """The worker died: it waits, twice as long as before unless it had lived for long."""
        now = self._clock()
        if now - self._started > STEADY:
            self._pause = FIRST
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, LONGEST)
