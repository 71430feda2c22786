"""What a worker's supervisor serves to Prometheus. Read at scrape time from its children's status files."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from db.errors import UserError
from worker.settings import WorkerSettings
from worker.telemetry.status_file import Seen

#: Values by what stands in the labels.
Values = Mapping[tuple[str, ...], float]

_STAGE_HELP: Final = (
    "Seconds spent by stage. Reading and decoding (with preprocessing) run on many threads and are summed over them; "
    "scoring and writing are one thread's."
)
_SCANS_HELP: Final = "Scans decided here, by outcome and reason. One that two workers scored counts at both."


class WorkerCollector(Collector):
    """The metrics of one supervisor's devices."""

    def __init__(self, look: Callable[[], Sequence[Seen]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """One family after the other, each with every device."""
        seen = self._look()
        yield _scans(seen)
        yield _stages(seen)
        yield counter("nightread_chunks", "Chunks worked on.", ("device",), _each(seen, lambda s: s.status.chunks))
        yield counter(
            "nightread_cached_scans",
            "Scans whose pixels were in the cache.",
            ("device",),
            _each(seen, lambda s: s.status.cached),
        )
        yield counter(
            "nightread_worker_restarts",
            "How often another process had to take over.",
            ("device",),
            _each(seen, lambda s: s.status.restarts),
        )
        yield gauge(
            "nightread_worker_ready",
            "1 where a live process holds the model.",
            ("device",),
            _each(seen, lambda s: s.status.is_loaded),
        )
        yield gauge(
            "nightread_last_progress_timestamp_seconds",
            "When a scan was last decided, or the model loaded.",
            ("device",),
            _each((s for s in seen if s.status.progress_at), lambda s: s.status.progress_at),
        )
        yield _models(seen)
        yield _memory(seen)


def serve_metrics(settings: WorkerSettings, collector: Collector) -> None:
    """Serve a collector at `CXR_METRICS_PORT`, or not at all where that is 0, for as long as the process lives.

    Raises:
        UserError: the port is in use, or the address is not this machine's.
    """
    if not settings.metrics_port:
        return
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        where = f"CXR_METRICS_PORT {settings.metrics_port} of CXR_METRICS_HOST {settings.metrics_host}"
        raise UserError(f"{where}: metrics cannot be served there ({error.strerror})") from error


def counter(name: str, sentence: str, labels: Sequence[str], values: Values) -> CounterMetricFamily:
    """A family of counters; `_total` is added to its name."""
    family = CounterMetricFamily(name, sentence, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(name: str, sentence: str, labels: Sequence[str], values: Values) -> GaugeMetricFamily:
    """A family of gauges."""
    family = GaugeMetricFamily(name, sentence, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _each(seen: Iterable[Seen], value: Callable[[Seen], float]) -> dict[tuple[str, ...], float]:
    return {(worker.device,): value(worker) for worker in seen}


def _scans(seen: Sequence[Seen]) -> Metric:
    values: dict[tuple[str, ...], float] = {}
    for worker in (worker for worker in seen if worker.status.name):
        status = worker.status
        own = (worker.device, status.name)
        # From the first scrape on: the increase of a series that begins at 1 is not seen.
        values[*own, "scored", ""] = status.scored
        values[*own, "quarantined", "killed_worker"] = status.quarantined
        values |= {(*own, "rejected", reason): count for reason, count in status.rejected.items()}
    return counter("nightread_scans", _SCANS_HELP, ("device", "model", "outcome", "reason"), values)


def _stages(seen: Sequence[Seen]) -> Metric:
    spent = [(worker.device, worker.status.seconds) for worker in seen]
    values: Values = {(device, stage): value for device, seconds in spent for stage, value in seconds.items()}
    return counter("nightread_stage_seconds", _STAGE_HELP, ("device", "stage"), values)


def _models(seen: Sequence[Seen]) -> Metric:
    labels = ("device", "model", "sha256", "runtime", "precision")
    loaded = [(worker.device, worker.status) for worker in seen if worker.status.is_loaded]
    values: Values = {(device, s.name, s.model, s.runtime, s.precision): 1.0 for device, s in loaded}
    return gauge("nightread_model_info", "Always 1; its labels are the loaded model.", labels, values)


def _memory(seen: Sequence[Seen]) -> Metric:
    return gauge(
        "nightread_process_resident_memory_bytes",
        "Memory of the supervisor, and for each device of Celery's parent and of the process that scores. Linux only.",
        ("device", "process"),
        {key: size for key, pid in _processes(seen) if (size := _resident(pid)) is not None},
    )


def _processes(seen: Sequence[Seen]) -> Iterator[tuple[tuple[str, str], str]]:
    yield ("", "supervisor"), "self"
    for worker in seen:
        yield (worker.device, "parent"), str(worker.parent)
        yield (worker.device, "scoring"), str(worker.status.pid)


def _resident(pid: str) -> float | None:
    """Bytes; None where there is no such process, or no /proc."""
    try:
        lines = Path("/proc", pid, "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    kib = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return 1024.0 * int(kib[0]) if kib else None
