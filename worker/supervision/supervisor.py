"""`worker start`: keeps one pinned Celery worker per device alive and the embedded broker up, and finds lost work.

Without `--model` it also follows the fleet's models: a new one is fetched while the current one still scores, and one
that cannot be loaded gives way to the previous one.

supervisor (this) ── celery worker, concurrency 1 ── pool process with the model
                  └─ embedded broker, where none is configured
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
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
from worker.supervision.health import check_health
from worker.supervision.heartbeat_thread import HeartbeatThread
from worker.supervision.model_selector import ModelSelector
from worker.supervision.restart_policy import MAX_CRASHES
from worker.supervision.worker_process import WorkerProcess
from worker.telemetry.device_status import DeviceStatus
from worker.telemetry.prometheus import WorkerCollector, serve_metrics

#: Seconds between two checks of the workers.
POLL_SECONDS: Final = 0.2
#: Seconds that a stopping worker gets beyond its soft shutdown.
GRACE_SECONDS: Final = 20.0

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs until it is told to stop."""

    def __init__(
        self,
        settings: WorkerSettings,
        ledger: str,
        devices: Sequence[Device],
        reconciler: Reconciler,
        *,
        model: ModelInfo | None,
        selector: ModelSelector | None,
    ) -> None:
        """Without a selector it serves `model` for ever; without a model it waits until the selector finds one."""
        self._settings = settings
        self._ledger = ledger
        self._devices = devices
        self._selector = selector
        self._model = model
        #: The model to fall back to while the current one may turn out not to load.
        self._previous_model: ModelInfo | None = None
        self._broker = EmbeddedBroker(settings) if settings.owns_broker else None
        self._reconciler = reconciler
        self._workers = self._new_workers()
        self._heartbeat = HeartbeatThread(settings, ledger, self.snapshots)
        self._stop_signals = 0
        self._next_check = 0.0
        self._has_swept = False

    def run(self) -> None:
        """Supervise until SIGTERM, SIGINT or SIGQUIT; then let each worker hand its chunk back.

        Raises:
            WorkStopped: on every device, scoring processes keep dying before they have decided a scan.
            UserError: a worker cannot load the only model there is to serve, the broker does not start, or the metrics
                cannot be served.
        """
        serve_metrics(self._settings, WorkerCollector(self.snapshots), self._probes())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._handle_stop)
        if self._model is None:
            logger.warning("no model is there yet; waiting for one ('trainer fit' makes it)")
        self._heartbeat.start()
        try:
            while not self._stop_signals:
                self._check()
                time.sleep(POLL_SECONDS)
        finally:
            self._heartbeat.stop()
            self._shut_down()
            self._heartbeat.join(POLL_SECONDS)

    def snapshots(self) -> list[DeviceStatus]:
        """The status of each worker as of now. Other threads call it."""
        return [worker.snapshot for worker in self._workers]

    def _probes(self) -> dict[str, Callable[[], str]]:
        check = partial(check_health, self._settings, supervisor=os.getpid())
        return {"/health": check, "/ready": partial(check, ready=True)}

    def _handle_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stop_signals += 1
        # At once: the supervisor itself may be waiting for a database or a store that does not answer.
        for worker in self._workers:
            worker.ask_to_stop()

    def _check(self) -> None:
        if self._broker is not None:
            self._broker.ensure()
        self._keep_alive()
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + self._settings.sweep_interval
            self._check_crashes()
            self._reconcile()

    def _keep_alive(self) -> None:
        for worker in tuple(self._workers):
            if worker.pid in self._heartbeat.stuck:
                worker.kill_stuck(self._settings.stall_seconds)
            try:
                worker.keep_alive()
            except UserError as error:
                self._handle_load_error(error)
                break

    def _handle_load_error(self, error: UserError) -> None:
        """A worker cannot load the model: fall back only if no worker here has ever loaded it."""
        if any(status.name for status in self.snapshots()):
            logger.error("the model could be loaded here before; trying again: %s", error)
            return
        self._fall_back(error)

    def _check_crashes(self) -> None:
        """Stop if the scoring processes of every device keep dying. One device alone never ends the others."""
        statuses = self.snapshots()
        if statuses and all(status.deaths >= MAX_CRASHES for status in statuses):
            sentence = (
                f"on every device {MAX_CRASHES} scoring processes in a row died before one scan was decided (the log "
                "above says how, and 'worker check' whether the model loads); no work is lost: correct the cause and "
                "start the worker again"
            )
            self._fall_back(WorkStopped(sentence))

    def _fall_back(self, error: NightreadError) -> None:
        """Serve the previous model instead of one that cannot be served; without a previous one, raise the error."""
        if self._model is None or self._previous_model is None or self._selector is None:
            raise error
        self._selector.refuse(self._model, error)
        self._serve(self._previous_model)
        self._previous_model = None

    def _reconcile(self) -> None:
        """Change the model where the fleet wants another one, and send lost work again."""
        try:
            self._select_model()
            if self._model is not None:
                self._reconciler.reconcile(self._model, at_once=not self._has_swept)
                self._has_swept = True
        except TemporaryError as error:
            logger.warning("skipped the search for lost work: %s", error)
        except DBAPIError as error:
            logger.warning("skipped the search for lost work: database unavailable (%s)", cause_of(error))
        except (UserError, OSError) as error:
            # At the start this ends the command; hours later the model store may just be away.
            what = "skipped the search for another model and lost work" if self._model is not None else "still no model"
            logger.warning("%s: %s", what, error)

    def _select_model(self) -> None:
        """Change to the model that the fleet wants, once nothing waits for the one that is served."""
        if self._selector is None:
            return
        chosen = self._selector.select(self._model)
        if chosen is not None and (self._model is None or chosen.sha256 != self._model.sha256):
            self._previous_model = self._model
            self._serve(chosen)

    def _serve(self, model: ModelInfo) -> None:
        logger.info("serving model %s (%s)", model.name, model.sha256[:12])
        self._stop_workers()
        self._model = model
        self._workers = self._new_workers()

    def _new_workers(self) -> list[WorkerProcess]:
        if self._model is None:
            return []
        count = len(self._devices)
        return [
            WorkerProcess(self._ledger, self._model.sha256, device, number, count)
            for number, device in enumerate(self._devices)
        ]

    def _shut_down(self) -> None:
        self._stop_workers()
        if self._broker is not None:
            self._broker.stop()

    def _stop_workers(self) -> None:
        for worker in self._workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + GRACE_SECONDS
        # A second signal ends the wait.
        while any(worker.is_alive for worker in self._workers) and time.monotonic() < deadline:
            if self._stop_signals >= 2:
                break
            time.sleep(POLL_SECONDS)
        for worker in self._workers:
            worker.kill()
