"""`worker health`: whether the workers of this home on this machine are well, by the health files of their supervisors.

A metrics port answers the same of its own supervisor.

Quick, because a container asks every half minute: no broker, database or model is opened.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from db.errors import NightreadError
from worker.files import PRIVATE, write_atomically
from worker.messaging.embedded_broker import socket_path
from worker.processes import is_running
from worker.settings import WorkerSettings
from worker.telemetry.device_status import LOADING, Heartbeat

#: Seconds after which a health file is out of date: many heartbeats, each of which may wait for a broker.
STALE_SECONDS: Final = 30.0
#: The heartbeats of a supervisor's devices, none while there is no model to load; null where the broker does not
#: answer, as in `producer status --json`.
_HEALTH_JSON: Final[TypeAdapter[Sequence[Heartbeat] | None]] = TypeAdapter(Sequence[Heartbeat] | None)


class Unhealthy(NightreadError):
    """Why the workers are not well, in one sentence."""


def check_health(settings: WorkerSettings, *, ready: bool = False, supervisor: int | None = None) -> str:
    """Describe the state of this machine's workers in one sentence.

    Args:
        settings: give home and `health_seconds`.
        ready: require that every worker has loaded its model and takes chunks.
        supervisor: ask for the workers of this process alone.

    Raises:
        Unhealthy: no supervisor runs here, its broker is away, or a worker has not loaded its model or decided a scan
            for `health_seconds` although it had something to do; or they are not ready and must be.
    """
    reports = list(read_health_files(health_folder(settings), supervisor))
    if not reports:
        raise Unhealthy(f"no 'worker start' for {settings.home} has reported here in the last {STALE_SECONDS:.0f} s")
    if None in reports:
        raise Unhealthy("the broker does not answer")
    heartbeats = [heartbeat for report in reports for heartbeat in report or ()]
    for heartbeat in heartbeats:
        if heartbeat.stalled > settings.health_seconds:
            raise Unhealthy(_stalled(heartbeat))
        if ready and heartbeat.state == LOADING:
            raise Unhealthy(f"the worker on {heartbeat.device} has not loaded its model yet")
    if ready and not all(reports):
        raise Unhealthy("there is no model to load yet")
    return "; ".join(f"{heartbeat.device}: {heartbeat.state}" for heartbeat in heartbeats) or "waiting for a model"


def _stalled(heartbeat: Heartbeat) -> str:
    where, seconds = f"the worker on {heartbeat.device}", f"{heartbeat.stalled:.0f} s"
    if heartbeat.state == LOADING:
        return f"{where} has not loaded its model for {seconds}"
    return f"{where} has decided no scan for {seconds} although it has work"


def health_folder(settings: WorkerSettings) -> Path:
    """Where the supervisors of this home and machine leave their health files, `<pid>.json` each.

    Not in `CXR_HOME`, which machines and containers may share.
    """
    return socket_path(settings).parent / "pulses"


def write_health_file(file: Path, heartbeats: Sequence[Heartbeat] | None) -> None:
    """Replace a supervisor's health file; None where the broker does not answer.

    Raises:
        OSError: the disk does not take it.
    """
    # Created each time: a cleaner of temporary folders may have deleted them.
    for folder in (file.parent.parent, file.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    write_atomically(file, _HEALTH_JSON.dump_json(heartbeats), mode=PRIVATE)


def read_health_files(folder: Path, supervisor: int | None = None) -> Iterator[Sequence[Heartbeat] | None]:
    """The health files that running supervisors, or this one, have written in the last `STALE_SECONDS`."""
    for file in folder.glob(f"{supervisor or '*'}.json"):
        try:
            fresh = time.time() - file.stat().st_mtime < STALE_SECONDS
            if fresh and is_running(int(file.stem)):
                yield _HEALTH_JSON.validate_json(file.read_bytes())
        except (OSError, ValueError):
            # Deleted since it was listed, or written by another version.
            continue
