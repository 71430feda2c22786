"""Publishes the state of a supervisor's workers: in the broker for the fleet, in a file for `worker health`."""

import contextlib
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from db.errors import TemporaryError
from worker.messaging.celery_app import make_app, waiting_chunks
from worker.messaging.heartbeats import send_heartbeats, withdraw_heartbeats
from worker.settings import WorkerSettings
from worker.supervision.health import health_folder, write_health_file
from worker.supervision.liveness import Throughput, Watchdog
from worker.telemetry.device_status import DeviceStatus, Heartbeat

#: Seconds between two heartbeats.
HEARTBEAT_EVERY: Final = 2.0

logger = logging.getLogger(__name__)


class HeartbeatThread(threading.Thread):
    """Sends heartbeats until it is stopped. A thread of its own: a slow broker must not hold up the supervisor."""

    def __init__(self, settings: WorkerSettings, ledger: str, snapshots: Callable[[], Sequence[DeviceStatus]]) -> None:
        """Prepare.

        Args:
            settings: give home, broker and the watchdog's seconds.
            ledger: see `make_app`.
            snapshots: gives the status of each of the supervisor's workers as of now.
        """
        super().__init__(name="heartbeat", daemon=True)
        self._app = make_app(settings, ledger)
        self._snapshots = snapshots
        self._health_file = health_folder(settings) / f"{os.getpid()}.json"
        self._throughputs: defaultdict[str, Throughput] = defaultdict(Throughput)
        self._watchdogs: defaultdict[str, Watchdog] = defaultdict(lambda: Watchdog(settings.stall_seconds))
        #: Celery's parents of the workers that are stuck, as of the last heartbeat.
        self.stuck: frozenset[int] = frozenset()
        self._heartbeats: tuple[Heartbeat, ...] = ()
        self._broker_answered = False
        self._done = threading.Event()

    def run(self) -> None:
        """Send heartbeats until told to stop; then withdraw them and delete the health file."""
        while not self._done.is_set():
            try:
                self._beat()
            except OSError as error:
                logger.warning("cannot write the health file, trying again: %s", error.strerror)
            except Exception:
                # A bug, and loud; but it must not make a worker that scores look dead.
                logger.exception("cannot send heartbeats, trying again")
            self._done.wait(HEARTBEAT_EVERY)
        self._health_file.unlink(missing_ok=True)
        # Where the broker is away they expire.
        with contextlib.suppress(TemporaryError):
            withdraw_heartbeats(self._app, self._heartbeats)

    def stop(self) -> None:
        """Send no more heartbeats. Returns at once; `join` waits for the end."""
        self._done.set()

    def _beat(self) -> None:
        statuses = self._snapshots()
        waiting = self._waiting_chunks({status.model for status in statuses})
        self._heartbeats = tuple(
            self._throughputs[status.device].heartbeat(status, waiting.get(status.model, 0)) for status in statuses
        )
        self.stuck = frozenset(
            status.parent
            for status in statuses
            if self._watchdogs[status.device].is_stuck(status, waiting.get(status.model, 0))
        )
        if self._broker_answered:
            self._send()
        write_health_file(self._health_file, self._heartbeats if self._broker_answered else None)

    def _waiting_chunks(self, models: set[str]) -> dict[str, int]:
        try:
            waiting = waiting_chunks(self._app, models)
        except TemporaryError as error:
            self._lost_broker(error)
            return {}
        self._broker_answered = True
        return waiting

    def _send(self) -> None:
        try:
            send_heartbeats(self._app, self._heartbeats)
        except TemporaryError as error:
            self._lost_broker(error)

    def _lost_broker(self, error: TemporaryError) -> None:
        if self._broker_answered:
            logger.warning("cannot send heartbeats, trying every %.0f s: %s", HEARTBEAT_EVERY, error)
        self._broker_answered = False
