"""Counts what the scoring process decides, and keeps its status file: see `worker.telemetry.device_status`."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final

from db.ledger.outcomes import Rejected, Scored
from worker.telemetry.device_status import DeviceStatus, read_status, take_over, write_status

#: The stages of a chunk. Reading and decoding run on many threads at once.
READ: Final = "read"
DECODE: Final = "decode"
SCORE: Final = "score"
WRITE: Final = "write"
STAGES: Final = (READ, DECODE, SCORE, WRITE)
#: Seconds between two writes of the status file while a chunk is in hand.
SAVE_EVERY: Final = 1.0

logger = logging.getLogger(__name__)


class Stopwatch:
    """Seconds by stage, summed over the threads that spend them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds = dict.fromkeys(STAGES, 0.0)

    @contextlib.contextmanager
    def time(self, stage: str, share: float = 1.0) -> Iterator[None]:
        """Add the seconds that the block takes, or a share of them in [0, 1], also where the block raises."""
        started = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[stage] += share * (time.monotonic() - started)

    @property
    def seconds(self) -> dict[str, float]:
        """By stage, so far."""
        with self._lock:
            return dict(self._seconds)


class ScoringCounters:
    """Counts what this process decides, on top of its predecessors' counts; only the scoring thread counts."""

    def __init__(self, path: Path | None, model_sha256: str) -> None:
        """Begin from the file.

        Args:
            path: the status file that the supervisor reads; None writes no file.
            model_sha256: the model that is about to be loaded.
        """
        self.stopwatch = Stopwatch()
        self._path = path
        self._status = take_over(read_status(path) if path else DeviceStatus(), model_sha256)
        self._seconds_before = self._status.seconds
        self._rejected = Counter(self._status.rejected)
        self._save_after = 0.0
        self.save()

    @property
    def deaths(self) -> int:
        """How many predecessors in a row died without deciding a scan."""
        return self._status.deaths

    def excused(self) -> None:
        """Record that this process is about to end because the database is away."""
        self._status = replace(self._status, excused=True)
        self.save()

    def failed(self, error: str) -> None:
        """Record why the model cannot be loaded."""
        self._status = replace(self._status, error=error)
        self.save()

    def loaded(self, *, name: str, runtime: str, precision: str) -> None:
        """Record that the model is loaded."""
        loaded = replace(self._status, ready=True, name=name, runtime=runtime, precision=precision)
        self._status = replace(loaded, progress_at=time.time())
        self.save()

    @contextlib.contextmanager
    def chunk(self) -> Iterator[None]:
        """Record that a chunk is in hand for as long as the block lasts."""
        self._status = replace(self._status, scoring=True)
        self.save()
        try:
            yield
        finally:
            # Also after an error: the process lived.
            self._status = replace(self._status, scoring=False, chunks=self._status.chunks + 1, deaths=0)
            self.save()

    def decided(self, outcomes: Sequence[Scored | Rejected]) -> None:
        """Count a batch's outcomes."""
        reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Rejected)]
        self._rejected.update(reasons)
        self._status = replace(self._status, scored=self._status.scored + len(outcomes) - len(reasons))
        self._progress()

    def rejected(self, reason: str, count: int) -> None:
        """Count scans that were rejected together."""
        self._rejected[reason] += count
        self._progress()

    def from_cache(self, count: int) -> None:
        """Count scans whose pixels were in the pixel cache."""
        self._status = replace(self._status, cached=self._status.cached + count)

    def quarantined(self) -> None:
        """Count a poison scan, which kept killing its worker."""
        self._status = replace(self._status, quarantined=self._status.quarantined + 1)
        self._progress()

    def save(self) -> None:
        """Write the status file. A full disk is logged and does not stop the scoring."""
        if self._path is None:
            return
        self._save_after = time.monotonic() + SAVE_EVERY
        try:
            write_status(self._path, self._current_status())
        except OSError as error:
            logger.warning("cannot write the status file (%s); scoring goes on", error.strerror)

    def _progress(self) -> None:
        self._status = replace(self._status, progress_at=time.time(), deaths=0)
        if time.monotonic() >= self._save_after:
            self.save()

    def _current_status(self) -> DeviceStatus:
        before = self._seconds_before
        seconds = {stage: before.get(stage, 0.0) + spent for stage, spent in self.stopwatch.seconds.items()}
        return replace(self._status, rejected=dict(self._rejected), seconds=seconds)
