"""How a supervisor's workers are, in words that it leaves to others.

A beat is one worker's; a pulse is all of one supervisor's, in a file on its own machine. Ages are the writer's own: the
clocks of two machines need not agree. No scan is named. Light, for `worker health` must be quick.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from worker.broker import socket_path
from worker.settings import WorkerSettings
from worker.status import is_running, write_whole

#: Seconds after which a pulse is no longer one: many beats, each of which may wait for a broker.
STALE: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One device's worker, as its supervisor last saw it."""

    host: str
    #: The supervisor.
    pid: int
    device: str
    #: The name of the model, empty until it is loaded for the first time, and the first 12 of its hash.
    model: str
    model_sha12: str
    #: `loading`, `idle` or `scoring`.
    state: str
    #: Scans decided since this model has been served here.
    decided: int
    #: Scans decided a second over the last minute, or since the start where that is less.
    rate: float
    #: Scans a second that its model alone has managed; 0 where it has not scored enough to tell.
    speed: float = 0.0
    restarts: int
    #: Seconds since a scan was last decided, or the model loaded; None before.
    progress_age: float | None
    #: Seconds in which it should have decided something, or loaded its model, and did not; 0 where all is well.
    stalled: float


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """What a supervisor leaves on its own machine."""

    #: Whether the broker answered at this beat.
    broker: bool
    #: Empty while there is no model to load yet.
    beats: tuple[Beat, ...]


_FORM: Final = TypeAdapter(Pulse)


def pulse_folder(settings: WorkerSettings) -> Path:
    """Where the supervisors of this home and machine leave their pulses, a file each.

    Not in `CXR_HOME`, which machines and containers may share.
    """
    return socket_path(settings).parent / "pulses"


def leave_pulse(file: Path, pulse: Pulse) -> None:
    """Put the pulse in place of the one before.

    Raises:
        OSError: the disk does not take it.
    """
    # Looked after each time: what cleans temporary folders may take them away.
    for folder in (file.parent.parent, file.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    write_whole(file, _FORM.dump_json(pulse))


def pulses(folder: Path) -> Iterator[Pulse]:
    """What supervisors that run have left in the last `STALE` seconds."""
    for file in folder.glob("*.json"):
        try:
            fresh = time.time() - file.stat().st_mtime < STALE
            if fresh and is_running(int(file.stem)):
                yield _FORM.validate_json(file.read_bytes())
        except (OSError, ValueError):
            # Gone since it was listed, or none of this version's.
            continue
