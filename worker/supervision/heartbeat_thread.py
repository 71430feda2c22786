"""The supervisor's heartbeat: how its workers are, to the broker for the fleet and to a file for `worker health`."""

import contextlib
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from db.errors import TemporaryError
from worker.messaging.celery_app import make_app, waiting_chunks
from worker.messaging.heartbeats import send_beats, withdraw_beats
from worker.settings import WorkerSettings
from worker.supervision.health import Pulse, leave_pulse, pulse_folder
from worker.supervision.liveness import Throughput, Watchdog
from worker.telemetry.heartbeat import Beat
from worker.telemetry.status_file import Seen

#: Seconds between two beats.
_INTERVAL: Final = 2.0

logger = logging.getLogger(__name__)


class Heartbeat(threading.Thread):
    """Beats until it is stopped, in a thread of its own: a broker that is slow must not hold up the supervisor."""

    def __init__(self, settings: WorkerSettings, look: Callable[[], Sequence[Seen]]) -> None:
        """Prepare.

        Args:
            settings: where home and broker are.
            look: the supervisor's workers as they are now.
        """
        super().__init__(name="heartbeat", daemon=True)
        self._app = make_app(settings)
        self._look = look
        self._file = pulse_folder(settings) / f"{os.getpid()}.json"
        self._paces: defaultdict[str, Throughput] = defaultdict(Throughput)
        self._watchdogs: defaultdict[str, Watchdog] = defaultdict(lambda: Watchdog(settings.stall_seconds))
        #: Celery's parents of the workers that are stuck, as of the last beat.
        self.stuck: frozenset[int] = frozenset()
        self._beats: tuple[Beat, ...] = ()
        self._broker_answered = False
        self._done = threading.Event()

    def run(self) -> None:
        """Beat until told to stop; then take back what was said."""
        while not self._done.is_set():
            try:
                self._beat()
            except OSError as error:
                logger.warning("no pulse for 'worker health': %s", error.strerror)
            except Exception:
                # A bug, and loud; but a worker that scores must not look dead for it.
                logger.exception("no heartbeat")
            self._done.wait(_INTERVAL)
        self._file.unlink(missing_ok=True)
        # Where the broker is away they expire.
        with contextlib.suppress(TemporaryError):
            withdraw_beats(self._app, self._beats)

    def stop(self) -> None:
        """Beat no more. Returns at once; `join` waits for the end."""
        self._done.set()

    def _beat(self) -> None:
        seen = self._look()
        waiting = self._ask_broker({worker.model for worker in seen})
        paces = self._paces
        self._beats = tuple(paces[worker.device].beat(worker, waiting.get(worker.model, 0)) for worker in seen)
        stuck = (one for one in seen if self._watchdogs[one.device].is_stuck(one, waiting.get(one.model, 0)))
        self.stuck = frozenset(one.parent for one in stuck)
        if self._broker_answered:
            self._send()
        leave_pulse(self._file, Pulse(broker=self._broker_answered, beats=self._beats))

    def _ask_broker(self, models: set[str]) -> dict[str, int]:
        try:
            waiting = waiting_chunks(self._app, models)
        except TemporaryError as error:
            self._lost_broker(error)
            return {}
        self._broker_answered = True
        return waiting

    def _send(self) -> None:
        try:
            send_beats(self._app, self._beats)
        except TemporaryError as error:
            self._lost_broker(error)

    def _lost_broker(self, error: TemporaryError) -> None:
        if self._broker_answered:
            logger.warning("no heartbeat: %s", error)
        self._broker_answered = False
