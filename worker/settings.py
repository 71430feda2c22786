"""Settings of the queue and of the process that scores."""

import os
from typing import Annotated, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, field_validator, model_validator

from db.settings import Settings

MODEL_VARIABLE: Final = "NIGHTREAD_MODEL"

STATUS_VARIABLE: Final = "NIGHTREAD_CHILD_STATUS"


#: 100 megapixels: four times the largest detector, far below what exhausts a worker.
MAX_PIXELS: Final = 100_000_000
#: kombu's names of its Redis transport.
_BROKERS: Final = ("redis", "rediss", "redis+socket")
#: What kombu takes behind a '?'; it trips over anything else.
_OPTIONS: Final = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
#: How many processes score on this machine; a supervisor tells those that it starts.
PROCESSES_VARIABLE: Final = "NIGHTREAD_PROCESSES"


def _own_cores() -> int:
    return max(2, (os.cpu_count() or 1) // int(os.environ.get(PROCESSES_VARIABLE, "1")))


class WorkerSettings(Settings):
    """The shared settings and those of the queue.

    Attributes:
        chunk_size: scans in one message; `auto` suits those who will work on them, see `worker.messaging.chunk_size`.
        time_budget: seconds that a worker spends on one delivery before it hands the rest back.
        visibility_timeout: seconds after which an unacknowledged message is delivered again; must exceed
            the time budget plus the load of a model.
        sweep_interval: seconds between two looks for lost work.
        read_threads: scans that are read at once: from a store most of that is waiting.
        decode_threads: of these, how many are decoded at once, by one process; the default shares out this machine's
            cores among the processes of a supervisor.
        per_gpu: how many processes share each GPU.
        runtime: `auto`, `openvino`, `keras`, or `package.module:callable`, which makes a `Scorer` from an
            artifact.
        precision: the arithmetic of the model; `auto` is never `int8`, whose scores are others.
        max_pixels: an image that claims more, width times height, is rejected before it is decoded.
        pixel_cache_gb: GiB of pixels that this machine keeps on disk, so that scans that are scored again are not
            decoded again; 0 keeps none.
        log_format: `text` for people, `json` for collectors: one object a line.
        metrics_port: where this process serves Prometheus; 0 is nowhere.
        metrics_host: the address that it listens on. The default is this machine only; a container needs `0.0.0.0`.
        health_seconds: how long a worker may take to load its model, or to decide a scan while there is work, before
            `worker health` calls it sick.
        stall_seconds: a worker that has work, or a model to load, and gives no sign of life for so long is restarted by
            its supervisor; must exceed a model's load and a batch.
        events: send Celery's task events, for Flower.
        stop_rate: a run is stopped where more than this share of what a worker attempted of it lately was rejected;
            1 stops none.
        stop_after: lately, that many scans; a run of fewer is never stopped.
    """

    chunk_size: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = "auto"
    time_budget: float = Field(default=15.0, gt=0)
    visibility_timeout: float = Field(default=60.0, gt=0)
    sweep_interval: float = Field(default=5.0, gt=0)
    read_threads: int = Field(default=16, ge=1, le=32)
    decode_threads: int = Field(default_factory=_own_cores, ge=1)
    per_gpu: int = Field(default=1, ge=1, le=16)
    runtime: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=2**30)
    pixel_cache_gb: float = Field(default=0.0, ge=0, le=100_000)
    log_format: Literal["text", "json"] = "text"
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    metrics_host: str = "127.0.0.1"
    health_seconds: float = Field(default=300.0, gt=0)
    stall_seconds: float = Field(default=300.0, gt=0)
    events: bool = False
    stop_rate: float = Field(default=0.5, ge=0, le=1)
    stop_after: int = Field(default=100, ge=1, le=100_000)

    @field_validator("broker_url")
    @classmethod
    def _names_a_broker(cls, url: str) -> str:
        if url and not _is_broker_url(url):
            # Never the address itself: it may hold a password.
            raise ValueError("not a broker's address (redis://HOST:PORT/NUMBER)")
        return url

    @model_validator(mode="after")
    def _budget_fits(self) -> "WorkerSettings":
        if self.time_budget >= self.visibility_timeout:
            raise ValueError("CXR_TIME_BUDGET must be shorter than CXR_VISIBILITY_TIMEOUT, or work is done twice")
        return self


def _is_broker_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        _ = parts.port
    except ValueError:
        return False
    is_socket = parts.scheme == "redis+socket"
    options = ("virtual_host",) if is_socket else _OPTIONS
    if not url.isprintable() or not set(parse_qs(parts.query, keep_blank_values=True)).issubset(options):
        return False
    database = parts.path.strip("/")
    return parts.scheme in _BROKERS and (is_socket or not database or database.isdigit())
