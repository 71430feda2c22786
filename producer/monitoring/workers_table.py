"""The workers of all machines, as `producer status` shows them."""

import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from db.errors import TemporaryError
from worker.messaging.celery_app import make_app
from worker.messaging.embedded_broker import socket_path
from worker.messaging.heartbeats import read_heartbeats
from worker.settings import WorkerSettings
from worker.telemetry.device_status import SCORING, Heartbeat

#: Seconds for which the broker's answer is kept: workers send no heartbeat sooner.
CACHE_SECONDS: Final = 2.0
#: Seconds without progress, although there was work, after which the state says so.
SHOW_STALL_AFTER: Final = 60.0


class WorkerPoller:
    """Asks the broker for the workers' heartbeats; does not fail where the broker is away."""

    def __init__(self, settings: WorkerSettings, ledger: str) -> None:
        self._settings = settings
        self._app = make_app(settings, ledger)
        self._heartbeats: list[Heartbeat] | None = None
        self._poll_after = 0.0

    def heartbeats(self) -> list[Heartbeat] | None:
        """The workers as of now, by host and device; None where the broker does not answer."""
        if time.monotonic() >= self._poll_after:
            try:
                self._heartbeats = read_heartbeats(self._app)
            except TemporaryError:
                self._heartbeats = None if _has_broker(self._settings) else []
            self._poll_after = time.monotonic() + CACHE_SECONDS
        return self._heartbeats

    def as_json(self) -> list[dict[str, Any]] | None:
        """The same for programs: an object per worker, whose `rate` is None where it is unknown or there is no work."""
        heartbeats = self.heartbeats()
        return None if heartbeats is None else [asdict(one) | {"rate": _rate_of(one)} for one in heartbeats]


def _has_broker(settings: WorkerSettings) -> bool:
    """Whether there is a broker that might answer: the embedded one is there only while a worker runs."""
    if settings.broker_url:
        return True
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(str(socket_path(settings)))
        return True
    return False


def lines_of(heartbeats: Sequence[Heartbeat] | None) -> list[str]:
    """A line per worker, for plain output."""
    if heartbeats is None:
        return ["workers: unknown, because the broker does not answer"]
    if not heartbeats:
        return ["workers: none is running; 'worker start' or 'producer run' starts one"]
    return [
        f"worker {heartbeat.host} {heartbeat.device} (pid {heartbeat.pid}): {_model(heartbeat)}, {_state(heartbeat)}, "
        f"{_words_of_rate(heartbeat)}{heartbeat.decided:,} done since it started"
        for heartbeat in heartbeats
    ]


def table_of(heartbeats: Sequence[Heartbeat] | None) -> Table | str:
    """A row per worker, for a terminal; one line where there is no worker or no answer."""
    if not heartbeats:
        return lines_of(heartbeats)[0]
    titles = ("host", "pid", "device", "model", "state", "scans/s, last minute", "done since start")
    table = Table(*titles, box=None, pad_edge=False)
    for heartbeat in heartbeats:
        rate = _rate_of(heartbeat)
        shown = "–" if rate is None else f"{rate:.1f}"
        who = (heartbeat.host, str(heartbeat.pid), heartbeat.device)
        row = (*who, _model(heartbeat), _state(heartbeat), shown, f"{heartbeat.decided:,}")
        # Text, because a model may be named [red].
        table.add_row(*map(Text, row))
    return table


def _rate_of(heartbeat: Heartbeat) -> float | None:
    return heartbeat.rate or None if heartbeat.state == SCORING else None


def _words_of_rate(heartbeat: Heartbeat) -> str:
    if heartbeat.state != SCORING:
        return ""
    rate = _rate_of(heartbeat)
    return "rate not known yet, " if rate is None else f"{rate:.1f} scans/s in the last minute, "


def _model(heartbeat: Heartbeat) -> str:
    return f"{heartbeat.model} ({heartbeat.model_sha12})" if heartbeat.model else heartbeat.model_sha12


def _state(heartbeat: Heartbeat) -> str:
    stalled = heartbeat.stalled > SHOW_STALL_AFTER
    return f"{heartbeat.state}, no progress for {heartbeat.stalled:.0f} s" if stalled else heartbeat.state
