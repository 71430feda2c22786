"""The process that scores: holds the loaded model, and turns one delivery into outcomes."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

from celery import Celery
from sqlalchemy.exc import DBAPIError

from db.close_run import close_finished_runs
from db.engine.database_errors import cause_of, is_passing
from db.engine.process_locks import ScanLocks
from db.engine.session import LedgerSession, ledger_session, open_database
from db.errors import OutOfDeviceMemory, PermanentError, TemporaryError
from db.ledger.outcomes import (
    KILLED_WORKER,
    Rejected,
    Scored,
    count_attempt,
    forgive_attempt,
    reject_store,
    still_pending,
)
from db.ledger.runs import nothing_pending
from worker.artifacts.model_store import open_model_store
from worker.messaging.celery_app import send_chunk
from worker.messaging.messages import Chunk, ChunkScan
from worker.scoring.circuit_breaker import CircuitBreaker
from worker.scoring.decoder import Decoder
from worker.scoring.error_rate import ErrorRates
from worker.scoring.open_scorer import open_scorer
from worker.scoring.outcome_writer import _named
from worker.scoring.pipeline import score_chunk
from worker.settings import WorkerSettings
from worker.storage.image_store import read_image
from worker.telemetry.counters import ScoringCounters
from worker.telemetry.logs import about

#: Seconds to wait before handing back a chunk that got nowhere, so that an outage is not a busy loop.
_BACK_OFF = 2.0
#: A scan that is alone gets so many time budgets: its claim keeps others off, beyond the message's visibility too.
_ALONE = 4

logger = logging.getLogger(__name__)


class ScoringProcess:
    """One loaded model and what it needs to work: the database, the queue and a pool of decoders."""

    def __init__(self, app: Celery, settings: WorkerSettings, model_sha256: str, tally: ScoringCounters) -> None:
        # Before numba is imported: what it compiles is there for the next process.
        os.environ.setdefault("NUMBA_CACHE_DIR", str(settings.home / "compiled"))
        self._app = app
        self._settings = settings
        self._tally = tally
        self._engine = open_database(settings.database_url, patience=settings.time_budget, must_exist=True)
        self._scan_locks = ScanLocks(self._engine)
        self._artifact = open_model_store(settings.model_dir, settings.home).find(model_sha256)
        self._scorer = open_scorer(self._artifact, settings.runtime, settings.precision)
        self._decoder = Decoder(self._artifact.manifest.preprocessing, settings, tally.stopwatch)
        self._brake = CircuitBreaker(self._engine, ErrorRates(after=settings.stop_after, rate=settings.stop_rate))
        #: The scan behind each outcome of the chunk in hand: logs speak of scans.
        self._scan_ids: dict[int, int] = {}
        #: Attempts that were counted and are to be taken back as this process lives, by outcome: where the database
        #: went away in between, later.
        self._unforgiven: set[int] = set()
        tally.loaded(name=self._artifact.manifest.name, runtime=self._scorer.runtime, precision=self._scorer.precision)

    @property
    def runtime(self) -> str:
        """What scores here, for the log."""
        return f"{self._scorer.runtime} {self._scorer.precision}"

    def handle(self, message: object, *, redelivered: bool) -> None:
        """Work on one delivery. When this returns, the message can be acknowledged.

        Raises:
            TemporaryError: neither the database nor the broker took the work; the message must stay unacknowledged.
            OutOfDeviceMemory: the device has no memory; the work was handed back, and this process should end.
        """
        try:
            chunk = Chunk.from_message(message)
            if chunk.model != self._artifact.sha256:
                raise PermanentError("message", f"a chunk for model {chunk.model[:12]}")
        except PermanentError as error:
            # Dropped: whatever it asked for is still pending in SQL, and will be sent again in a form we know.
            logger.error("message dropped: %s", error)
            return
        if redelivered and len(chunk.scans) > 1:
            # Its worker died, maybe of one of these scans: halving finds out which.
            self._isolate(chunk)
            return
        try:
            with self._tally.chunk():
                self._begin(chunk, redelivered=redelivered)
        except OutOfDeviceMemory as error:
            with suppress(DBAPIError):
                self._forgive()
            self._tally.failed(str(error))
            self._hand_back(chunk.scans)
            raise
        except TemporaryError:
            raise
        except Exception as error:
            if isinstance(error, DBAPIError) and is_passing(error):
                logger.warning("the database does not take it (%s): chunk handed back", cause_of(error))
                self._hand_back(chunk.scans)
                return
            # A bug, and loud: Celery logs it. Its neighbours must not wait for it, nor it go round for ever.
            self._unforgiven.clear()
            self._isolate(chunk)
            raise

    def _isolate(self, chunk: Chunk) -> None:
        """Send a chunk's halves; of a scan that is alone already, count the attempt."""
        if len(chunk.scans) > 1:
            for half in chunk.halves():
                send_chunk(self._app, half)
        else:
            self._count_attempt(chunk.scans[0].outcome_id)

    def _count_attempt(self, outcome_id: int) -> None:
        with self._engine.begin() as connection:
            may_be_tried = count_attempt(connection, outcome_id)
            self._brake.release(connection, [outcome_id])
        if not may_be_tried:
            self._tally.quarantined()
            logger.error("outcome %d quarantined: it keeps killing its worker", outcome_id)
            # One by one, what is wrong with a worker or a model would come to all scans of a night.
            self._brake.judge([Rejected(outcome_id=outcome_id, reason=KILLED_WORKER, detail="")])

    def _forgive(self) -> None:
        if self._unforgiven:
            with self._engine.begin() as connection:
                for outcome_id in sorted(self._unforgiven):
                    forgive_attempt(connection, outcome_id)
            self._unforgiven.clear()

    def _begin(self, chunk: Chunk, *, redelivered: bool) -> None:
        """Work on a chunk; on a lone scan only while nobody else does.

        A worker that lives is merely slower than the visibility timeout: that is not the scan's fault, and to work on
        it as well would help nobody.
        """
        if len(chunk.scans) > 1:
            self._work(chunk)
            return
        with self._scan_locks.hold(chunk.scans[0].outcome_id) as mine:
            if not mine:
                time.sleep(_BACK_OFF)
                # As it came, so that it still tells of a death, should the other one die.
                raise TemporaryError("another worker has this scan in hand")
            self._work(chunk, suspicious=redelivered)

    def _work(self, chunk: Chunk, *, suspicious: bool = False) -> None:
        started = time.monotonic()
        self._forgive()
        if suspicious:
            self._unforgiven.add(chunk.scans[0].outcome_id)
            self._count_attempt(chunk.scans[0].outcome_id)
        patience = self._settings.time_budget * (_ALONE if len(chunk.scans) == 1 else 1)
        with ledger_session(self._engine) as ledger, self._readers() as pool:
            scans = self._pending(chunk, ledger)
            left = score_chunk(
                scans,
                scorer=self._scorer,
                # Nobody waits longer for one.
                read_image=partial(read_image, seconds=patience),
                to_pixels=self._decoder,
                write=partial(self._write, ledger=ledger),
                pool=pool,
                out_of_time=lambda: self._brake.is_on or time.monotonic() - started > patience,
                stopwatch=self._tally.stopwatch,
            )
            # It lived: the message was redelivered for another cause than a death.
            self._forgive()
            with ledger.read_transaction() as connection:
                over = nothing_pending(connection, [scan.outcome_id for scan in chunk.scans])
        if over:
            self._close(chunk)
        cached = self._decoder.take_hits()
        self._tally.from_cache(cached)
        self._log_chunk(chunk, decided=len(scans) - len(left), handed_back=len(left), cached=cached)
        if left:
            in_vain, quickly = len(left) == len(scans), time.monotonic() - started < _BACK_OFF
            if in_vain and not quickly and len(left) > 1:
                # Its images are too slow to be read side by side: fewer at a time, at last one with time of its own.
                self._isolate(Chunk(model=chunk.model, scans=tuple(left)))
            else:
                # What took its time is no busy loop, and must not be held beyond its visibility.
                self._hand_back(left, no_progress=quickly and in_vain)

    @contextmanager
    def _readers(self) -> Iterator[ThreadPoolExecutor]:
        """Threads for one delivery: one that hangs, on a share that is gone, is not there to hold up the next."""
        pool = ThreadPoolExecutor(self._settings.read_threads, thread_name_prefix="read")
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _pending(self, chunk: Chunk, ledger: LedgerSession) -> list[ChunkScan]:
        """The chunk's scans that nobody has decided yet, each where SQL says that its image lies.

        A message may be older than the ledger, restored or pruned since: its ids may be other scans' by now.
        """
        ids = [scan.outcome_id for scan in chunk.scans]
        with ledger.read_transaction() as connection:
            pending = still_pending(connection, ids, chunk.model)
            self._brake.release(connection, ids)
        self._scan_ids = {scan.outcome_id: scan.scan_id for scan in pending}
        return [ChunkScan(outcome_id=scan.outcome_id, location=scan.location) for scan in pending if scan.location]

    def _write(self, outcomes: Sequence[Scored | Rejected], *, ledger: LedgerSession) -> None:
        with ledger.write_transaction() as connection:
            self._brake.decide(connection, outcomes)
        self._tally.decided(outcomes)
        rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        for outcome in rejected:
            self._log_rejected(outcome)
        for store, detail in {outcome.store: outcome.detail for outcome in rejected if outcome.store}.items():
            self._reject_store(store, detail)
        self._brake.judge(outcomes)

    def _reject_store(self, store: str, detail: str) -> None:
        """End what waits for a store that refuses this worker; it is due again in the next run."""
        with self._engine.begin() as connection:
            count = reject_store(connection, self._artifact.sha256, store, detail)
        if count:
            self._tally.rejected("s3", count)
            logger.error("%s: %d more scans rejected with it", detail, count, extra=about(reason="s3"))
            for run_id in close_finished_runs(self._engine):
                logger.info("run %d finished", run_id, extra=about(run_id=run_id))

    def _close(self, chunk: Chunk) -> None:
        for run_id in close_finished_runs(self._engine, [scan.outcome_id for scan in chunk.scans]):
            logger.info("run %d finished", run_id, extra=about(run_id=run_id))

    def _log_chunk(self, chunk: Chunk, *, decided: int, handed_back: int, cached: int) -> None:
        runs = sorted({run_id for runs in self._brake.runs.values() for run_id in runs})
        logger.info(
            "chunk of %d for %s: %d decided, %d handed back%s",
            len(chunk.scans),
            _named(runs),
            decided,
            handed_back,
            f", {cached} from the pixel cache" if cached else "",
            extra=about(run_ids=runs, model=chunk.model, decided=decided, handed_back=handed_back, cached=cached),
        )

    def _log_rejected(self, outcome: Rejected) -> None:
        scan_id, runs = self._scan_ids[outcome.outcome_id], [*self._brake.runs.get(outcome.outcome_id, ())]
        extra = about(run_ids=runs, scan_id=scan_id, reason=outcome.reason)
        logger.warning("scan %d rejected: %s (%s)", scan_id, outcome.reason, _named(runs), extra=extra)

    def _hand_back(self, scans: Sequence[ChunkScan], *, no_progress: bool = True) -> None:
        """Send these again as a new message: not `redelivered`, for no worker died of them."""
        if no_progress:
            time.sleep(_BACK_OFF)
        send_chunk(self._app, Chunk(model=self._artifact.sha256, scans=tuple(scans)))
