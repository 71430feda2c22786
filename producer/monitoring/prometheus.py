"""The fleet's Prometheus metrics, served even if every worker is dead: what waits in SQL and in the queue; drift."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import Final, TypeAlias

from prometheus_client import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.drift.night import NightDrift
from db.engine.session import read_transaction
from db.errors import TemporaryError
from db.ledger.backlog import Backlog, read_backlog
from db.ledger.ledger_id import ledger_id
from worker.messaging.celery_app import LedgerApp, make_app, waiting_chunks
from worker.messaging.heartbeats import read_heartbeats
from worker.settings import WorkerSettings
from worker.telemetry.device_status import IDLE, LOADING, SCORING
from worker.telemetry.prometheus import gauge, serve_metrics

#: Seconds for which the metrics are kept, so that many scrapers cause little load.
CACHE_SECONDS: Final = 5.0
#: Gives the last night that was judged for drift, or None.
LastJudged: TypeAlias = Callable[[], NightDrift | None]

logger = logging.getLogger(__name__)


def serve_fleet_metrics(settings: WorkerSettings, engine: Engine, last_judged: LastJudged) -> None:
    """Serve the fleet's metrics at `CXR_METRICS_PORT` while the process lives; a port of 0 serves nothing.

    Raises:
        UserError: the port is in use, or the address is not this machine's.
    """
    app = make_app(settings, ledger_id(engine))
    serve_metrics(settings, FleetCollector(engine, app, last_judged=last_judged), probes={})


class FleetCollector(Collector):
    """The fleet's gauges. Gauges of a database or broker that is away are absent, which an alert can tell from 0."""

    def __init__(
        self,
        engine: Engine,
        app: LedgerApp,
        clock: Callable[[], float] = time.monotonic,
        last_judged: LastJudged = lambda: None,
    ) -> None:
        """`last_judged` answers at once: it is asked at each scrape."""
        self._engine = engine
        self._app = app
        self._clock = clock
        self._last_judged = last_judged
        self._lock = Lock()
        self._metrics: list[Metric] = []
        self._collect_after = 0.0
        self._backlog: Backlog | None = None

    def collect(self) -> Iterable[Metric]:
        """Everything, at most `CACHE_SECONDS` old; never raises."""
        with self._lock:
            if self._clock() >= self._collect_after:
                self._metrics = [*self._of_database(), *self._of_broker(), *_drift(self._last_judged())]
                self._collect_after = self._clock() + CACHE_SECONDS
            return self._metrics

    def _of_database(self) -> Iterator[Metric]:
        try:
            with read_transaction(self._engine) as connection:
                self._backlog = read_backlog(connection)
        except SQLAlchemyError as error:
            logger.warning(
                "metrics of the ledger are left out: the database does not answer (%s)", type(error).__name__
            )
            yield _flag("nightread_database_up", "1 where the database answers.", is_set=False)
            return
        yield _flag("nightread_database_up", "1 where the database answers.", is_set=True)
        yield from _ledger(self._backlog)

    def _of_broker(self) -> Iterator[Metric]:
        # The models of the last answer stay known while the database is away.
        names = {model.sha256: model.name for model in self._backlog.models} if self._backlog else {}
        try:
            waiting = waiting_chunks(self._app, names)
            states = Counter(heartbeat.state for heartbeat in read_heartbeats(self._app))
        except TemporaryError as error:
            logger.warning("metrics of the queue are left out: %s", error)
            yield _flag("nightread_broker_up", "1 where the broker answers.", is_set=False)
            return
        yield _flag("nightread_broker_up", "1 where the broker answers.", is_set=True)
        yield gauge(
            "nightread_queue_chunks",
            "Chunks that wait in a model's queue, without those that a worker holds.",
            ("model",),
            {(names[sha256],): depth for sha256, depth in waiting.items()},
        )
        yield gauge(
            "nightread_workers",
            "Workers, one per device, that sent a heartbeat within the last 15 seconds, by state.",
            ("state",),
            {(state,): states[state] for state in (LOADING, IDLE, SCORING)},
        )


def _ledger(backlog: Backlog) -> Iterator[Metric]:
    names = {model.id: model.name for model in backlog.models}
    yield gauge(
        "nightread_pending_scans",
        "Scans that wait for their outcome under a model, without those of stopped runs.",
        ("model",),
        {(names[model_id],): count for model_id, count in backlog.pending.items()},
    )
    yield gauge(
        "nightread_oldest_pending_seconds",
        "Age of the open run that has waited longest for a model's next scan; absent where nothing waits.",
        ("model",),
        {(names[model_id],): age for model_id, age in backlog.oldest_seconds.items()},
    )
    yield gauge("nightread_open_runs", "Runs that are neither finished nor cancelled.", (), {(): backlog.open_runs})
    sentence = "Open runs that were stopped because too many of their scans failed, and not resumed."
    yield gauge("nightread_stopped_runs", sentence, (), {(): backlog.stopped_runs})
    active = [(model.name, model.sha256) for model in backlog.models if model.active]
    yield gauge(
        "nightread_active_model_info",
        "Always 1; its labels are the model of the next runs.",
        ("model", "sha256"),
        dict.fromkeys(active, 1.0),
    )


def _drift(night: NightDrift | None) -> Iterator[Metric]:
    """The gauges of the last judged night. They name findings, but no manufacturer: that is text from headers."""
    if night is None or night.is_alarm is None or night.largest is None:
        return
    yield _flag(
        "nightread_drift_alarm", "1 where the last judged night differs from its reference.", is_set=night.is_alarm
    )
    sentence = "Its largest shift from the reference, in deviations of like nights."
    yield gauge("nightread_drift_largest_shift", sentence, (), {(): abs(night.largest.standardised)})
    yield gauge("nightread_drift_scans", "Scans that were decided in it.", (), {(): night.scans})
    kolmogorov_smirnov = {of.finding: of.kolmogorov_smirnov for of in night.scores}
    sentence = "The largest difference between the shares of its and of the reference's scans up to a score."
    yield gauge("nightread_drift_ks", sentence, ("finding",), _known(kolmogorov_smirnov))
    stability = {of.finding: of.population_stability_index for of in night.scores}
    sentence = "The population stability index of its scores against the reference's."
    yield gauge("nightread_drift_psi", sentence, ("finding",), _known(stability))


def _known(by_finding: Mapping[str, float | None]) -> dict[tuple[str, ...], float]:
    return {(finding,): value for finding, value in by_finding.items() if value is not None}


def _flag(name: str, sentence: str, *, is_set: bool) -> Metric:
    return gauge(name, sentence, (), {(): float(is_set)})
