"""Finds work that the queue has lost, and sends it again from SQL.

Lost: outcomes are pending while neither the queue nor any worker holds a chunk, seen twice. A fleet's supervisors take
turns, so that a thousand of them ask no more of broker and database than one. Turns, what was seen and the lock that
keeps two from sending the same work lie in the broker; if it loses them, work is done twice and written once.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.engine.sqlite import trim_wal
from db.ledger.models import ModelInfo
from db.ledger.outcomes import pending_of_model
from worker.messaging.celery_app import nothing_in_flight, redis_client
from worker.messaging.chunk_size import send_pending
from worker.messaging.messages import queue_of
from worker.settings import WorkerSettings
from worker.telemetry.logs import about

#: Seconds: longer than a resend takes, short enough that a dead holder is not missed.
_LOCK_SECONDS: Final = 30
#: Of the interval between two looks: until one whose turn it is again has certainly come for it.
_TURN: Final = 0.9
#: Intervals after which what was seen once is forgotten: three looks.
_SUSPICION: Final = 3
#: Seconds until SQLite's `-wal` file is tried again where a reader stays: each try makes writers wait.
_TRIM_AGAIN: Final = 600.0

logger = logging.getLogger(__name__)


class Reconciler:
    """Looks for lost work of the model that is served."""

    def __init__(self, app: Celery, engine: Engine, settings: WorkerSettings) -> None:
        self._app = app
        self._engine = engine
        self._settings = settings
        self._trim_after = 0.0

    def sweep(self, model: ModelInfo, *, at_once: bool = False) -> int:
        """Look once, if it is this supervisor's turn.

        Args:
            model: whose work.
            at_once: wait neither for a turn nor for a second look (right after a start, when what waits was never
                sent).

        Returns:
            How many scans were sent again.

        Raises:
            TemporaryError: the broker does not answer.
        """
        self._trim()
        with self._turn(model) as mine:
            return self._look(model, at_once=at_once) if mine or at_once else 0

    @contextmanager
    def _turn(self, model: ModelInfo) -> Iterator[bool]:
        """Whether it is this supervisor's: nobody has looked for a while."""
        key = f"nightread.looked.{queue_of(model.sha256)}"
        with redis_client(self._app) as client:
            mine = self._leave(client, key, _TURN)
        try:
            yield mine
        except DBAPIError:
            # Others may reach the database that this machine does not.
            with redis_client(self._app) as client:
                client.delete(key)
            raise

    def _look(self, model: ModelInfo, *, at_once: bool) -> int:
        self._close_forgotten()
        lost = nothing_in_flight(self._app, model.sha256) and self._anything_pending(model)
        return self._send(model) if self._looked_lost_before(model, lost=lost) or (lost and at_once) else 0

    def _looked_lost_before(self, model: ModelInfo, *, lost: bool) -> bool:
        """Whether work was lost at the last look, too, whoever looked."""
        key = f"nightread.suspect.{queue_of(model.sha256)}"
        with redis_client(self._app) as client:
            again = lost and not self._leave(client, key, _SUSPICION)
            if again or not lost:
                client.delete(key)
        return again

    def _leave(self, client: Any, key: str, intervals: float) -> bool:
        """Put a key into the broker that is gone after so many intervals; False where there is one."""
        return bool(client.set(key, 1, nx=True, px=max(1, round(1000 * intervals * self._settings.sweep_interval))))

    def _trim(self) -> None:
        if time.monotonic() >= self._trim_after and not trim_wal(self._engine):
            self._trim_after = time.monotonic() + _TRIM_AGAIN

    def _send(self, model: ModelInfo) -> int:
        lock = f"nightread.sweep.{queue_of(model.sha256)}"
        with redis_client(self._app) as client:
            if not client.set(lock, 1, nx=True, ex=_LOCK_SECONDS):
                return 0
        try:
            # Another may have sent it all since this one looked.
            return self._send_pending(model) if nothing_in_flight(self._app, model.sha256) else 0
        finally:
            # Kept, it would make the next run on this machine wait.
            with redis_client(self._app) as client:
                client.delete(lock)

    def _send_pending(self, model: ModelInfo) -> int:
        with read_transaction(self._engine) as connection:
            pending = pending_of_model(connection, model.id)
        sent = send_pending(self._app, self._settings, model.sha256, pending)
        logger.info("%d waiting scans sent", sent, extra=about(model=model.sha256))
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
            logger.exception("no finished run can be closed")
