"""The process that scores: it holds the loaded model and turns each delivery into outcomes.

receive -> check what is pending -> read -> decode -> score -> record -> send back what time did not suffice for
"""

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final

from sqlalchemy.exc import DBAPIError

from db.engine.database_errors import cause_of, is_transient
from db.engine.process_locks import ScanLocks
from db.engine.session import open_database
from db.errors import OutOfDeviceMemory, TemporaryError
from worker.artifacts.model_store import open_model_store
from worker.artifacts.registration import check_export
from worker.messaging.celery_app import LedgerApp, send_chunk
from worker.messaging.messages import Chunk, ChunkScan, InvalidMessage
from worker.scoring.circuit_breaker import CircuitBreaker
from worker.scoring.decoder import Decoder
from worker.scoring.error_rate import ErrorRates
from worker.scoring.open_scorer import open_scorer
from worker.scoring.outcome_writer import OutcomeWriter, name_runs
from worker.scoring.pipeline import score_chunk
from worker.settings import WorkerSettings
from worker.storage.image_store import read_image
from worker.telemetry.counters import ScoringCounters
from worker.telemetry.logs import about

#: Seconds before a chunk of which nothing was scored goes back to the queue, so that an outage is not a busy loop.
_BACK_OFF: Final = 2.0
#: Time budgets for a chunk of one scan: its lock keeps other workers off, also beyond the message's visibility.
LONE_SCAN_BUDGETS: Final = 4
#: Time budgets after which a decoding hangs. A process's first one loads code, which takes seconds on a busy machine.
#: Fewer than a lone scan's, so that the delivery of that scan ends with it.
_HANGING_BUDGETS: Final = 3

logger = logging.getLogger(__name__)


class ScoringProcess:
    """One loaded model and what it needs to work: the ledger, the queue and a pool of readers."""

    def __init__(self, app: LedgerApp, settings: WorkerSettings, model_sha256: str, counters: ScoringCounters) -> None:
        # Before numba is imported: what it compiles is there for the next process.
        os.environ.setdefault("NUMBA_CACHE_DIR", str(settings.home / "compiled"))
        self._app = app
        self._settings = settings
        self._counters = counters
        engine = open_database(settings.database_url, lock_timeout=settings.time_budget, must_exist=True)
        self._scan_locks = ScanLocks(engine)
        self._artifact = open_model_store(settings.model_dir, settings.home).find(model_sha256)
        self._scorer = open_scorer(
            self._artifact, settings.runtime, settings.precision, partial(check_export, engine, self._artifact)
        )
        manifest = self._artifact.manifest
        self._decoder = Decoder(manifest.preprocessing, settings, counters.stopwatch, manifest.views)
        breaker = CircuitBreaker(ErrorRates(after=settings.stop_after, rate=settings.stop_rate))
        self._writer = OutcomeWriter(engine, model_sha256, breaker, counters)
        scorer = self._scorer
        counters.loaded(name=manifest.name, runtime=scorer.runtime, precision=scorer.precision)

    @property
    def runtime(self) -> str:
        """Runtime and precision, as the log names them."""
        return f"{self._scorer.runtime} {self._scorer.precision}"

    def handle(self, message: object, *, redelivered: bool) -> None:
        """Work on one delivery. When this returns, the message can be acknowledged.

        Raises:
            TemporaryError: neither the database nor the broker took the work; the message must stay unacknowledged.
            OutOfDeviceMemory: the device has no memory; the chunk is back in the queue, and this process should end.
        """
        try:
            chunk = self._receive(message)
            if redelivered and len(chunk.scans) > 1:
                # Its worker died, maybe of one of these scans: halving finds out which.
                self._isolate(chunk)
            else:
                self._score_or_return(chunk, redelivered=redelivered)
        except InvalidMessage as error:
            # Its work is still pending in SQL and is sent again from there.
            logger.error("message dropped: %s", error)

    def _receive(self, message: object) -> Chunk:
        chunk = Chunk.from_message(message)
        if chunk.ledger != self._app.ledger:
            raise InvalidMessage("a chunk of another ledger")
        if chunk.model != self._artifact.sha256:
            raise InvalidMessage(f"a chunk for model {chunk.model[:12]}")
        return chunk

    def _score_or_return(self, chunk: Chunk, *, redelivered: bool) -> None:
        """Score a chunk; after a failure send it back, so that its other scans do not wait for what failed."""
        try:
            with self._counters.chunk():
                self._lock_and_score(chunk, redelivered=redelivered)
        except (TemporaryError, InvalidMessage):
            raise
        except OutOfDeviceMemory as error:
            self._writer.forgive_if_possible()
            self._counters.failed(str(error))
            self._send_back(chunk.scans)
            raise
        except Exception as error:
            if isinstance(error, DBAPIError) and is_transient(error):
                logger.warning("database unavailable (%s); chunk returned to the queue", cause_of(error))
                self._send_back(chunk.scans)
                return
            # A bug, and loud: Celery logs it. Neither may the other scans wait for it, nor may it return for ever.
            self._writer.keep_attempts()
            self._isolate(chunk)
            raise

    def _lock_and_score(self, chunk: Chunk, *, redelivered: bool) -> None:
        """Score a chunk; a lone scan only while no other worker does.

        Another worker that lives is merely slower than the visibility timeout. That is not the scan's fault, and a
        second worker on the scan would not help.
        """
        if len(chunk.scans) > 1:
            self._score(chunk, suspicious=False)
            return
        with self._scan_locks.hold(chunk.scans[0].outcome_id) as is_mine:
            if not is_mine:
                time.sleep(_BACK_OFF)
                # Unacknowledged, so that it still tells of a death if the other worker dies.
                raise TemporaryError("another worker has this scan in hand")
            self._score(chunk, suspicious=redelivered)

    def _score(self, chunk: Chunk, *, suspicious: bool) -> None:
        started = time.monotonic()
        seconds = self._settings.time_budget * (LONE_SCAN_BUDGETS if len(chunk.scans) == 1 else 1)
        with self._writer.open_chunk(chunk, suspicious=suspicious) as pending, self._readers() as pool:
            left = score_chunk(
                pending,
                scorer=self._scorer,
                # No image may take longer than the delivery.
                read_image=partial(read_image, seconds=seconds),
                decode_image=self._decoder,
                record_outcomes=self._writer.record_outcomes,
                pool=pool,
                out_of_time=lambda: self._writer.run_stopped or time.monotonic() - started > seconds,
                stopwatch=self._counters.stopwatch,
            )
            self._die_if_stuck()
        self._log_chunk(chunk, recorded=len(pending) - len(left), returned=len(left))
        if left:
            was_quick = time.monotonic() - started < _BACK_OFF
            unscored = [ChunkScan(outcome_id=scan.outcome_id, location=scan.location) for scan in left]
            self._return(unscored, in_vain=len(left) == len(pending), was_quick=was_quick)

    def _die_if_stuck(self) -> None:
        """End this process if a decoder hangs, as if it had killed it: a thread cannot be ended.

        The chunk comes again, halved until the scan is alone, and attempts are counted against that one.
        """
        if self._decoder.is_stuck(_HANGING_BUDGETS * self._settings.time_budget):
            logger.error("a decoder hangs in an image: this process ends, and its chunk comes again")
            os.kill(os.getpid(), signal.SIGKILL)

    def _return(self, left: Sequence[ChunkScan], *, in_vain: bool, was_quick: bool) -> None:
        """Send back what a delivery left: halved where nothing was scored: its images are too slow side by side."""
        if in_vain and not was_quick and len(left) > 1:
            self._isolate(self._chunk_of(left))
        else:
            # Without a pause where it took its time: it must not be held beyond its visibility.
            self._send_back(left, pause=_BACK_OFF if in_vain and was_quick else 0.0)

    def _isolate(self, chunk: Chunk) -> None:
        """Send a chunk's halves; count an attempt against a scan that is alone already."""
        if len(chunk.scans) == 1:
            self._writer.count_attempt(chunk.scans[0].outcome_id)
            return
        for half in chunk.halves():
            send_chunk(self._app, half)

    def _send_back(self, scans: Sequence[ChunkScan], *, pause: float = _BACK_OFF) -> None:
        """Send these after a pause in seconds as a new message, which is not `redelivered`: no worker died of them."""
        time.sleep(pause)
        send_chunk(self._app, self._chunk_of(scans))

    def _chunk_of(self, scans: Sequence[ChunkScan]) -> Chunk:
        return Chunk(ledger=self._app.ledger, model=self._artifact.sha256, scans=tuple(scans))

    @contextmanager
    def _readers(self) -> Iterator[ThreadPoolExecutor]:
        """Threads for one delivery: one that hangs on an unreachable share does not hold up the next delivery."""
        pool = ThreadPoolExecutor(self._settings.read_threads, thread_name_prefix="read")
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _log_chunk(self, chunk: Chunk, *, recorded: int, returned: int) -> None:
        cached = self._decoder.take_hits()
        self._counters.from_cache(cached)
        runs = self._writer.runs
        logger.info(
            "chunk of %d for %s: %d recorded, %d returned to the queue%s",
            len(chunk.scans),
            name_runs(runs),
            recorded,
            returned,
            f", {cached} from the pixel cache" if cached else "",
            extra=about(run_ids=runs, model=chunk.model, decided=recorded, handed_back=returned, cached=cached),
        )
