"""Finds work that the queue has lost, and sends it again from SQL.

Work is lost when outcomes are pending while neither the queue nor any worker holds a chunk, at two checks in a row. A
fleet's supervisors take turns, so that a thousand of them ask no more of broker and database than one. The broker keeps
the turns, the suspicion and the lock that lets one supervisor send; if it loses them, work is done twice and recorded
once.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.engine.sqlite import trim_wal
from db.ledger.models import ModelInfo
from db.ledger.outcomes import pending_of_model
from worker.messaging.celery_app import LedgerApp, nothing_in_flight, redis_client
from worker.messaging.chunk_size import send_pending
from worker.settings import WorkerSettings
from worker.telemetry.logs import about

#: Longer than sending takes, and short enough that a dead holder is not missed.
_SEND_LOCK_SECONDS: Final = 30
#: How long a turn lasts, in intervals between two checks: it is over when the next check comes.
_TURN_INTERVALS: Final = 0.9
#: How long a suspicion lasts, in intervals.
_SUSPICION_INTERVALS: Final = 3
#: Until SQLite's `-wal` file is trimmed again where a reader kept it from that: each attempt makes writers wait.
_TRIM_RETRY_SECONDS: Final = 600.0

logger = logging.getLogger(__name__)


class Reconciler:
    """Looks for lost work of one model."""

    def __init__(self, app: LedgerApp, engine: Engine, settings: WorkerSettings) -> None:
        self._app = app
        self._engine = engine
        self._settings = settings
        self._trim_after = 0.0

    def reconcile(self, model: ModelInfo, *, at_once: bool = False) -> int:
        """Check once, if it is this supervisor's turn.

        Args:
            model: the model whose work is looked for.
            at_once: wait neither for a turn nor for a second check. Right after a start, pending scans may never have
                been sent.

        Returns:
            How many scans were sent again.

        Raises:
            TemporaryError: the broker does not answer.
        """
        self._trim()
        with self._turn(model) as is_mine:
            return self._check(model, at_once=at_once) if is_mine or at_once else 0

    @contextmanager
    def _turn(self, model: ModelInfo) -> Iterator[bool]:
        """Whether it is this supervisor's turn: no other one has checked for an interval."""
        key = f"nightread.looked.{self._app.queue_of(model.sha256)}"
        with redis_client(self._app) as client:
            is_mine = self._set_if_absent(client, key, _TURN_INTERVALS)
        try:
            yield is_mine
        except DBAPIError:
            # Another machine may reach the database.
            with redis_client(self._app) as client:
                client.delete(key)
            raise

    def _check(self, model: ModelInfo, *, at_once: bool) -> int:
        self._close_forgotten()
        is_lost = nothing_in_flight(self._app, model.sha256) and self._anything_pending(model)
        return self._send(model) if self._lost_twice(model, is_lost=is_lost) or (is_lost and at_once) else 0

    def _lost_twice(self, model: ModelInfo, *, is_lost: bool) -> bool:
        """Whether work is lost now and was at the last check, by whichever supervisor."""
        key = f"nightread.suspect.{self._app.queue_of(model.sha256)}"
        with redis_client(self._app) as client:
            is_again = is_lost and not self._set_if_absent(client, key, _SUSPICION_INTERVALS)
            if is_again or not is_lost:
                client.delete(key)
        return is_again

    def _set_if_absent(self, client: Any, key: str, intervals: float) -> bool:
        """Set a key in the broker that expires after some intervals; False where it is set already."""
        return bool(client.set(key, 1, nx=True, px=max(1, round(1000 * intervals * self._settings.sweep_interval))))

    def _trim(self) -> None:
        if time.monotonic() >= self._trim_after and not trim_wal(self._engine):
            self._trim_after = time.monotonic() + _TRIM_RETRY_SECONDS

    def _send(self, model: ModelInfo) -> int:
        lock = f"nightread.sweep.{self._app.queue_of(model.sha256)}"
        with redis_client(self._app) as client:
            if not client.set(lock, 1, nx=True, ex=_SEND_LOCK_SECONDS):
                return 0
        try:
            # Another supervisor may have sent it all since the check.
            return self._send_pending(model) if nothing_in_flight(self._app, model.sha256) else 0
        finally:
            # Otherwise the next run on this machine would wait for it to expire.
            with redis_client(self._app) as client:
                client.delete(lock)

    def _send_pending(self, model: ModelInfo) -> int:
        with read_transaction(self._engine) as connection:
            pending = pending_of_model(connection, model.id)
        sent = send_pending(self._app, self._settings, model.sha256, pending)
        logger.info("%d pending scans sent", sent, extra=about(model=model.sha256))
        return sent

    def _anything_pending(self, model: ModelInfo) -> bool:
        with read_transaction(self._engine) as connection:
            return bool(pending_of_model(connection, model.id, limit=1))

    def _close_forgotten(self) -> None:
        """Close runs whose last worker died between its last outcome and the closing."""
        try:
            for run_id in close_finished_runs(self._engine):
                logger.info("run %d finished", run_id, extra=about(run_id=run_id))
        except DBAPIError:
            raise
        except Exception:
            # A bug, and loud; but one run's figures must not keep this machine from all other work.
            logger.exception("cannot close a finished run; trying again at the next check")
