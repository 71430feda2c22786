"""`worker start`: keeps one pinned Celery worker per device alive, the embedded broker up, and looks for lost work.

Without `--model` it also follows the fleet's models: a new one is fetched while the old one still scores, and one
that cannot be loaded gives way to the one before.

supervisor (this) ── celery worker, concurrency 1 ── pool process with the model
                  └─ embedded broker, where none is configured
"""

import logging
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

from sqlalchemy.exc import DBAPIError

from db.engine.database_errors import cause_of
from db.errors import NightreadError, TemporaryError, UserError, WorkStopped
from db.ledger.models import ModelInfo
from worker.messaging.embedded_broker import EmbeddedBroker
from worker.messaging.reconciler import Reconciler
from worker.settings import WorkerSettings
from worker.supervision.devices import Device
from worker.supervision.heartbeat_thread import Heartbeat
from worker.supervision.model_selector import ModelSelector
from worker.supervision.restart_policy import MAX_CRASHES
from worker.supervision.worker_process import WorkerProcess
from worker.telemetry.prometheus import WorkerCollector, serve_metrics
from worker.telemetry.status_file import Seen

#: Seconds between two looks at the children.
_TICK: Final = 0.2
#: Seconds that a stopping worker gets beyond its soft shutdown.
_GRACE: Final = 20.0

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs until it is told to stop."""

    def __init__(
        self,
        settings: WorkerSettings,
        devices: Sequence[Device],
        sweeper: Reconciler,
        *,
        model: ModelInfo | None,
        follower: ModelSelector | None,
    ) -> None:
        """Without a follower it serves `model` for ever; without a model it waits for the follower to find one."""
        self._settings = settings
        self._devices = devices
        self._follower = follower
        self._model = model
        #: What was served before, while it may have to be again.
        self._former: ModelInfo | None = None
        self._broker = EmbeddedBroker(settings) if settings.owns_broker else None
        self._sweeper = sweeper
        self._workers = self._new_workers()
        self._heartbeat = Heartbeat(settings, self.seen)
        self._stopping = 0
        self._next_sweep = 0.0
        self._swept = False

    def run(self) -> None:
        """Supervise until SIGTERM, SIGINT or SIGQUIT; then let each worker hand its chunk back.

        Raises:
            WorkStopped: every worker's processes die, one after the other, before they have decided a scan.
            UserError: a child cannot load the only model there is to serve, the broker does not start, or there is no
                place for metrics.
        """
        serve_metrics(self._settings, WorkerCollector(self.seen))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._stop)
        if self._model is None:
            logger.warning("no model is there yet, waiting for one; 'trainer fit' makes it")
        self._heartbeat.start()
        try:
            while not self._stopping:
                self._look_after()
                time.sleep(_TICK)
        finally:
            self._heartbeat.stop()
            self._shut_down()
            self._heartbeat.join(_TICK)

    def seen(self) -> list[Seen]:
        """What operators see of the workers; asked from other threads."""
        return [worker.seen for worker in self._workers]

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping += 1
        # At once: the supervisor itself may be waiting for a database or a store that does not answer.
        for worker in self._workers:
            worker.ask_to_stop()

    def _look_after(self) -> None:
        if self._broker is not None:
            self._broker.ensure()
        self._keep_alive()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + self._settings.sweep_interval
            self._count_deaths()
            self._sweep()

    def _keep_alive(self) -> None:
        for worker in tuple(self._workers):
            if worker.pid in self._heartbeat.stuck:
                worker.kill_stuck()
            try:
                worker.keep_alive()
            except UserError as error:
                self._give_up(error)
                break

    def _give_up(self, error: UserError) -> None:
        """A worker cannot load the model: that ends it all only where no worker here ever could."""
        if any(seen.status.name for seen in self.seen()):
            logger.error("the model could be loaded here before; tried again: %s", error)
            return
        self._retreat(error)

    def _count_deaths(self) -> None:
        """End it all where every device's worker keeps dying; one that dies alone never ends the others."""
        seen = self.seen()
        if seen and all(one.status.deaths >= MAX_CRASHES for one in seen):
            sentence = (
                f"on every device {MAX_CRASHES} scoring processes in a row died before one scan was decided; the log "
                "above says how, and 'worker check' whether the model loads. Nothing is lost: start the worker again"
            )
            self._retreat(WorkStopped(sentence))

    def _retreat(self, error: NightreadError) -> None:
        """Leave the model that cannot be served for the one before; without one, end."""
        if self._model is None or self._former is None or self._follower is None:
            raise error
        self._follower.refuse(self._model, error)
        self._serve(self._former)
        self._former = None

    def _sweep(self) -> None:
        try:
            self._follow()
            if self._model is not None:
                self._sweeper.sweep(self._model, at_once=not self._swept)
                self._swept = True
        except TemporaryError as error:
            logger.warning("no look for lost work: %s", error)
        except DBAPIError as error:
            logger.warning("no look for lost work: the database does not take it (%s)", cause_of(error))
        except (UserError, OSError) as error:
            # At the start a person is told, and it ends; hours later the place of models may just be away.
            what = "no look for another model or lost work" if self._model is not None else "still no model"
            logger.warning("%s: %s", what, error)

    def _follow(self) -> None:
        """Change to the model that the fleet wants, once nothing waits for the one that is served."""
        if self._follower is None:
            return
        chosen = self._follower.look(self._model)
        if chosen is not None and (self._model is None or chosen.sha256 != self._model.sha256):
            self._former = self._model
            self._serve(chosen)

    def _serve(self, model: ModelInfo) -> None:
        logger.info("serving model %s (%s)", model.name, model.sha256[:12])
        self._end_workers()
        self._model = model
        self._workers = self._new_workers()

    def _new_workers(self) -> list[WorkerProcess]:
        if self._model is None:
            return []
        count = len(self._devices)
        return [WorkerProcess(self._model.sha256, device, number, count) for number, device in enumerate(self._devices)]

    def _shut_down(self) -> None:
        self._end_workers()
        if self._broker is not None:
            self._broker.stop()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + _GRACE
        while any(worker.is_alive for worker in self._workers) and time.monotonic() < deadline and self._stopping < 2:
            time.sleep(_TICK)
        for worker in self._workers:
            worker.kill()
