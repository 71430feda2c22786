"""The Prometheus metrics of a supervisor's devices, read from their status files at scrape time; and its probes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from db.errors import NightreadError, UserError
from worker.settings import WorkerSettings
from worker.telemetry.device_status import DeviceStatus

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: Values by label values.
Values = Mapping[tuple[str, ...], float]
#: Answers a probe with a sentence, or raises a `NightreadError` if the answer is no.
Probe: TypeAlias = Callable[[], str]

_STAGE_HELP: Final = (
    "Seconds spent by stage. Reading and decoding (with preprocessing) run on many threads and are summed over them; "
    "scoring and writing run on one thread."
)
_SCANS_HELP: Final = "Scans decided here, by outcome and reason. A scan that two workers scored counts at both."
_MEMORY_HELP: Final = (
    "Memory of the supervisor, and for each device of Celery's parent and of the process that scores. Linux only."
)


class WorkerCollector(Collector):
    """The metrics of one supervisor's devices."""

    def __init__(self, snapshots: Callable[[], Sequence[DeviceStatus]]) -> None:
        """`snapshots` gives the status of each device as of now."""
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """One family after the other, each with every device."""
        statuses = self._snapshots()
        progressed = [status for status in statuses if status.progress_at]
        yield _scans(statuses)
        yield _stages(statuses)
        yield counter("nightread_chunks", "Chunks worked on.", ("device",), {(s.device,): s.chunks for s in statuses})
        yield counter(
            "nightread_cached_scans",
            "Scans whose pixels were in the cache.",
            ("device",),
            {(s.device,): s.cached for s in statuses},
        )
        yield counter(
            "nightread_worker_restarts",
            "How often another process had to take over.",
            ("device",),
            {(s.device,): s.restarts for s in statuses},
        )
        yield gauge(
            "nightread_worker_ready",
            "1 where a live process holds the model.",
            ("device",),
            {(s.device,): s.is_loaded for s in statuses},
        )
        yield gauge(
            "nightread_last_progress_timestamp_seconds",
            "When a scan was last decided, or the model loaded.",
            ("device",),
            {(s.device,): s.progress_at for s in progressed},
        )
        yield _models(statuses)
        yield _memory(statuses)


def serve_metrics(settings: WorkerSettings, collector: Collector, probes: Mapping[str, Probe]) -> None:
    """Serve a collector at `CXR_METRICS_PORT` for as long as the process lives; a port of 0 serves nothing.

    Args:
        settings: give port and address.
        collector: its metrics are at `/metrics`.
        probes: by path, such as `/ready`; status 200 or 503. Any other path is 404, so that no probe takes metrics for
            a good answer.

    Raises:
        UserError: the port is in use, or the address is not this machine's.
    """
    if not settings.metrics_port:
        return
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        where = f"CXR_METRICS_PORT {settings.metrics_port} of CXR_METRICS_HOST {settings.metrics_host}"
        raise UserError(f"{where}: metrics cannot be served there ({error.strerror}); set another port") from error
    server.set_app(_by_path(make_wsgi_app(registry), probes))


def _by_path(metrics: "WSGIApplication", probes: Mapping[str, Probe]) -> "WSGIApplication":
    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start_response)
        status, sentence = _ask(probes.get(environ["PATH_INFO"]))
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{sentence}\n".encode()]

    return answer


def _ask(probe: Probe | None) -> tuple[str, str]:
    """The status and the body of an answer."""
    if probe is None:
        return "404 Not Found", "nothing is here; metrics are at /metrics"
    try:
        return "200 OK", probe()
    except NightreadError as error:
        return "503 Service Unavailable", str(error)


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


def _scans(statuses: Sequence[DeviceStatus]) -> Metric:
    values: dict[tuple[str, ...], float] = {}
    for status in (status for status in statuses if status.name):
        own = (status.device, status.name)
        # Present from the first scrape on: Prometheus does not see the increase of a series that begins at 1.
        values[*own, "scored", ""] = status.scored
        values[*own, "quarantined", "killed_worker"] = status.quarantined
        values |= {(*own, "rejected", reason): count for reason, count in status.rejected.items()}
    return counter("nightread_scans", _SCANS_HELP, ("device", "model", "outcome", "reason"), values)


def _stages(statuses: Sequence[DeviceStatus]) -> Metric:
    values: Values = {(status.device, stage): spent for status in statuses for stage, spent in status.seconds.items()}
    return counter("nightread_stage_seconds", _STAGE_HELP, ("device", "stage"), values)


def _models(statuses: Sequence[DeviceStatus]) -> Metric:
    labels = ("device", "model", "sha256", "runtime", "precision")
    values: Values = {(s.device, s.name, s.model, s.runtime, s.precision): 1.0 for s in statuses if s.is_loaded}
    return gauge("nightread_model_info", "Always 1; its labels are the loaded model.", labels, values)


def _memory(statuses: Sequence[DeviceStatus]) -> Metric:
    values: Values = {key: size for key, pid in _processes(statuses) if (size := _resident(pid)) is not None}
    return gauge("nightread_process_resident_memory_bytes", _MEMORY_HELP, ("device", "process"), values)


def _processes(statuses: Sequence[DeviceStatus]) -> Iterator[tuple[tuple[str, str], str]]:
    yield ("", "supervisor"), "self"
    for status in statuses:
        yield (status.device, "parent"), str(status.parent)
        yield (status.device, "scoring"), str(status.pid)


def _resident(pid: str) -> float | None:
    """Bytes; None where there is no such process, or no /proc."""
    try:
        lines = Path("/proc", pid, "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    kib = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return 1024.0 * int(kib[0]) if kib else None
