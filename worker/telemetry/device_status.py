"""The two records of a device's worker: what its scoring process counts, and the heartbeat that is published of it.

`DeviceStatus` holds raw counts and process ids, which mean something on this machine alone. The scoring process writes
it to a small file that its supervisor reads. `Heartbeat` holds what the supervisor derives from successive statuses,
for readers on any machine. The file outlives the process: its successor under the same supervisor continues the
counts, so that none ever falls.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from worker.files import PRIVATE, write_atomically
from worker.processes import is_running

#: No model is loaded yet.
LOADING: Final = "loading"
IDLE: Final = "idle"
SCORING: Final = "scoring"
#: A model's speed is known after this many scans: some full batches.
MIN_SCANS_FOR_SPEED: Final = 128


@dataclass(frozen=True, kw_only=True)
class DeviceStatus:
    """A device's worker since its supervisor started, over all processes that scored there."""

    #: Name of the device. Only the supervisor knows it, and fills it in when it reads the file.
    device: str = ""
    #: Pid of Celery's parent of the scoring process, 0 while there is none. The supervisor fills it in, too.
    parent: int = 0
    #: Whether the process holds its model. A process that was killed leaves this as it was: see `is_loaded`.
    ready: bool = False
    #: The scoring process; 0 while there is none.
    pid: int = 0
    #: Why the model cannot be loaded; empty where it can.
    error: str = ""
    #: Hash and name of the model; the name is known once it is loaded.
    model: str = ""
    name: str = ""
    runtime: str = ""
    precision: str = ""
    #: Whether a chunk is in hand.
    scoring: bool = False
    #: Scoring processes so far.
    starts: int = 0
    #: How many of them in a row died while they loaded the model or had a chunk in hand, and decided no scan.
    deaths: int = 0
    #: Whether this process ends because the database is away, which is not its own fault.
    excused: bool = False
    chunks: int = 0
    scored: int = 0
    #: Scans by reason.
    rejected: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    #: Scans whose pixels were in the pixel cache.
    cached: int = 0
    #: Seconds by stage, summed over threads.
    seconds: Mapping[str, float] = field(default_factory=dict)
    #: Unix time at which a scan was last decided, or the model loaded; 0 before.
    progress_at: float = 0.0

    @property
    def is_loaded(self) -> bool:
        """Whether a live process holds the model."""
        return self.ready and is_running(self.pid)

    @property
    def state(self) -> str:
        """`LOADING`, `IDLE` or `SCORING`."""
        if not self.is_loaded:
            return LOADING
        return SCORING if self.scoring else IDLE

    @property
    def restarts(self) -> int:
        """How often another process had to take over."""
        return max(0, self.starts - 1)

    @property
    def speed(self) -> float:
        """Scans per second of the model alone; 0 until it has scored enough scans to tell."""
        seconds = self.seconds.get("score", 0.0)
        return self.scored / seconds if seconds and self.scored >= MIN_SCANS_FOR_SPEED else 0.0

    @property
    def decided(self) -> int:
        """Scans that were scored, rejected or quarantined here."""
        return self.scored + sum(self.rejected.values()) + self.quarantined


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """One device's worker as its supervisor publishes it: in the broker, and on its machine for `worker health`.

    The field names are keys of `producer status --json`.
    """

    host: str
    #: The supervisor.
    pid: int
    device: str
    #: The name of the model, empty until it is loaded for the first time, and the first 12 of its hash.
    model: str
    model_sha12: str
    #: `LOADING`, `IDLE` or `SCORING`.
    state: str
    #: Scans decided since this model has been served here.
    decided: int
    #: Scans decided per second over the last minute; 0 while that is unknown (see `db.rates`) or there is no work.
    rate: float
    #: Scans per second of the model alone; 0 until it has scored enough scans to tell.
    speed: float = 0.0
    restarts: int
    #: Seconds since a scan was last decided, or the model loaded; None before.
    progress_age: float | None
    #: Seconds in which it should have decided a scan or loaded its model and did not; 0 where all is well.
    stalled: float


_STATUS_JSON: Final = TypeAdapter(DeviceStatus)


def read_status(path: Path) -> DeviceStatus:
    """Read the status; a missing or damaged file gives an empty one."""
    try:
        return _STATUS_JSON.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return DeviceStatus()


def write_status(path: Path, status: DeviceStatus) -> None:
    """Replace the status.

    Raises:
        OSError: the disk does not take it.
    """
    write_atomically(path, _STATUS_JSON.dump_json(status), mode=PRIVATE)


def record_start(path: Path) -> None:
    """Record that a worker is about to start: the counts stay, the state of its predecessor goes.

    Raises:
        OSError: the disk does not take it.
    """
    before = read_status(path)
    write_status(path, _for_successor(before) if before.starts else replace(before, starts=1))


def take_over(before: DeviceStatus, model: str) -> DeviceStatus:
    """Continue a predecessor's counts in this process, which begins to load a model.

    Args:
        before: the status in the file.
        model: hash of the model. Counts of another model are not continued.
    """
    # The supervisor counted a first process with its parent; another under the same parent is a replacement.
    counted = _for_successor(before) if before.pid else before
    continued = counted if before.model in ("", model) else DeviceStatus(starts=counted.starts)
    return replace(continued, pid=os.getpid(), model=model)


def _for_successor(before: DeviceStatus) -> DeviceStatus:
    # A process that ended idle or excused did not die of its work.
    died_at_work = (before.scoring or not before.ready) and not before.excused
    starts, deaths = before.starts + 1, before.deaths + died_at_work
    return replace(before, ready=False, pid=0, error="", scoring=False, excused=False, starts=starts, deaths=deaths)
