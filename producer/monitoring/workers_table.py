"""The workers of all machines, as `producer status` shows them."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from db.errors import TemporaryError
from worker.messaging.celery_app import make_app
from worker.messaging.heartbeats import read_beats
from worker.settings import WorkerSettings
from worker.telemetry.heartbeat import Beat

#: Seconds for which what the broker said stands: beats do not come faster.
_KEPT: Final = 2.0
#: Seconds without progress, though there was work, from which on it is said.
_LONG: Final = 60.0


class Fleet:
    """Asks the broker who works; a broker that is away is no reason to fail."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._app = make_app(settings)
        self._kept: list[Beat] | None = None
        self._kept_until = 0.0

    def beats(self) -> list[Beat] | None:
        """Who works now; None where the broker does not answer."""
        if time.monotonic() >= self._kept_until:
            try:
                self._kept = read_beats(self._app)
            except TemporaryError:
                self._kept = None
            self._kept_until = time.monotonic() + _KEPT
        return self._kept

    def as_json(self) -> list[dict[str, Any]] | None:
        """The same for programs."""
        beats = self.beats()
        return None if beats is None else [asdict(beat) for beat in beats]


def lines_of(beats: Sequence[Beat] | None) -> list[str]:
    """A line a worker."""
    if beats is None:
        return ["workers: not known, the broker does not answer"]
    if not beats:
        return ["workers: none"]
    return [
        f"worker {beat.host} {beat.device}: {_model(beat)}, {_state(beat)}, {beat.rate:.1f} scans/s, "
        f"{beat.decided:,} done"
        for beat in beats
    ]


def table_of(beats: Sequence[Beat] | None) -> Table | str:
    """A table for a terminal."""
    if not beats:
        return lines_of(beats)[0]
    table = Table("host", "device", "model", "state", "scans/s", "done", box=None, pad_edge=False)
    for beat in beats:
        row = (beat.host, beat.device, _model(beat), _state(beat), f"{beat.rate:.1f}", f"{beat.decided:,}")
        # A model may be named [red].
        table.add_row(*map(Text, row))
    return table


def _model(beat: Beat) -> str:
    return f"{beat.model} ({beat.model_sha12})" if beat.model else beat.model_sha12


def _state(beat: Beat) -> str:
    return f"{beat.state}, no progress for {beat.stalled:.0f} s" if beat.stalled > _LONG else beat.state
