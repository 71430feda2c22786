"""`worker health`: whether the workers of this home on this machine are well, by what their supervisor left last.

Quick, for a container is asked every half minute: no broker, database or model is opened.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from db.errors import NightreadError
from worker.files import PRIVATE, write_atomically
from worker.messaging.embedded_broker import socket_path
from worker.processes import is_running
from worker.settings import WorkerSettings
from worker.telemetry.heartbeat import Beat
from worker.telemetry.status_file import LOADING


class Unhealthy(NightreadError):
    """Why the workers are not well: one sentence."""


def check_health(settings: WorkerSettings) -> str:
    """How the workers are, in one sentence.

    Raises:
        Unhealthy: no supervisor runs here, its broker is away, or a worker has not loaded its model or decided a scan
            for `health_seconds` while there was something to do.
    """
    left = list(pulses(pulse_folder(settings)))
    if not left:
        raise Unhealthy(f"no 'worker start' of {settings.home} has said anything here in the last {STALE:.0f} s")
    if not all(pulse.broker for pulse in left):
        raise Unhealthy("the broker does not answer")
    beats = [beat for pulse in left for beat in pulse.beats]
    for beat in beats:
        if beat.stalled > settings.health_seconds:
            raise Unhealthy(_stalled(beat))
    return "; ".join(f"{beat.device}: {beat.state}" for beat in beats) or "waiting for a model"


def _stalled(beat: Beat) -> str:
    what = "has not loaded its model" if beat.state == LOADING else "has decided no scan, though there is work,"
    return f"the worker for {beat.device} {what} for {beat.stalled:.0f} s"


#: Seconds after which a pulse is no longer one: many beats, each of which may wait for a broker.
STALE: Final = 30.0


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
    write_atomically(file, _FORM.dump_json(pulse), mode=PRIVATE)


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
