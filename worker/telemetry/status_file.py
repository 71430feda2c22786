"""What a device's worker has done so far: a small file that its scoring process writes and its supervisor reads.

The file outlives the process: a successor under the same supervisor goes on from its counts, so none ever falls.
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
#: Scans from which a model's speed is known: some full batches.
_ENOUGH: Final = 128


@dataclass(frozen=True, kw_only=True)
class Status:
    """A device's worker since its supervisor started, over all processes that scored there."""

    #: Whether the process holds its model. A process that died without a word leaves this as it was: see `is_loaded`.
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
    #: Whether this one ends for no fault of its own: the database is away.
    excused: bool = False
    chunks: int = 0
    scored: int = 0
    #: Scans by reason.
    rejected: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    #: Scans whose pixels were kept from an earlier run.
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
        """Scans a second that the model alone has managed; 0 where it has not scored enough to tell."""
        seconds = self.seconds.get("score", 0.0)
        return self.scored / seconds if seconds and self.scored >= _ENOUGH else 0.0

    @property
    def decided(self) -> int:
        """Scans that were scored, rejected or quarantined here."""
        return self.scored + sum(self.rejected.values()) + self.quarantined


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One device's worker as its supervisor sees it."""

    device: str
    #: Hash of the model that it is to hold.
    model: str
    status: Status
    #: Celery's parent of the scoring process; 0 while there is none.
    parent: int


_FORM: Final = TypeAdapter(Status)


def read_status(path: Path) -> Status:
    """What the file says; nothing yet where there is no file, or none of ours."""
    try:
        return _FORM.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Status()


def write_status(path: Path, status: Status) -> None:
    """Put the status in place of the one there was.

    Raises:
        OSError: the disk does not take it.
    """
    write_atomically(path, _FORM.dump_json(status), mode=PRIVATE)


def await_process(path: Path) -> None:
    """Note that a worker is about to start: its counts stay, whatever was said of its predecessor goes."""
    before = read_status(path)
    write_status(path, _succeeded(before) if before.starts else replace(before, starts=1))


def take_over(before: Status, model: str) -> Status:
    """The status of this process, which begins to load a model: it goes on from its predecessor's counts.

    Args:
        before: what the file says.
        model: a predecessor's counts under another model are that model's.
    """
    # The supervisor counted a first process with its parent; another under the same parent is a replacement.
    counted = _succeeded(before) if before.pid else before
    kept = counted if before.model in ("", model) else Status(starts=counted.starts)
    return replace(kept, pid=os.getpid(), model=model)


def _succeeded(before: Status) -> Status:
    """What a process leaves to its successor. One that ended idle, or was excused, tells nothing of its work."""
    in_vain = (before.scoring or not before.ready) and not before.excused
    starts, deaths = before.starts + 1, before.deaths + in_vain
    return replace(before, ready=False, pid=0, error="", scoring=False, excused=False, starts=starts, deaths=deaths)
