"""Settings of the queue, of the model store and of the processes that score."""

import os
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, field_validator, model_validator

from db.addresses import absolute_path
from db.settings import Settings

# A supervisor sets these four for the processes that it starts.
#: The sha256 of the model that a process scores with.
MODEL_VARIABLE: Final = "NIGHTREAD_MODEL"
#: The id of the ledger whose chunks a process takes, `db.ledger.ledger_id`.
LEDGER_VARIABLE: Final = "NIGHTREAD_LEDGER"
#: The file in which a process counts what it has done.
STATUS_VARIABLE: Final = "NIGHTREAD_CHILD_STATUS"
#: How many processes score on this machine.
PROCESSES_VARIABLE: Final = "NIGHTREAD_PROCESSES"

#: 100 megapixels: four times the largest detector, far below what exhausts a worker.
MAX_PIXELS: Final = 100_000_000
#: The codes of `worker.dicom.admission`, which knows what each means.
ADMISSION_CODES: Final = (
    *("sop_class", "secondary_capture", "for_processing", "body_part", "view", "burned_in", "window"),
)
#: kombu's names of its Redis transport.
_BROKER_SCHEMES: Final = ("redis", "rediss", "redis+socket")
#: The query parameters that kombu accepts. It fails with a traceback on any other.
_BROKER_OPTIONS: Final = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")


def _cores_per_process() -> int:
    return max(2, (os.cpu_count() or 1) // int(os.environ.get(PROCESSES_VARIABLE, "1")))


class ModelSettings(Settings):
    """The shared settings and the place of the models: all that the trainer needs.

    Attributes:
        model_dir: where artifacts are published and found, the absolute path of a folder or `s3://bucket/prefix`. The
            default is `home/models`.
        admit: codes of `worker.dicom.admission`, with commas between them. Whoever reads a DICOM film takes it although
            its header says such a thing; otherwise it is rejected.
    """

    model_dir: str = ""
    admit: str = ""

    @property
    def trainer_folder(self) -> Path:
        """The folder of what the trainer keeps: decoded scans, contact sheets, checkpoints of unfinished fits."""
        return self.home / "trainer"

    @property
    def admitted(self) -> frozenset[str]:
        """The codes that `admit` names."""
        return _codes_in(self.admit)

    @field_validator("admit")
    @classmethod
    def _check_admit(cls, codes: str) -> str:
        if unknown := sorted(_codes_in(codes).difference(ADMISSION_CODES)):
            raise ValueError(f"{unknown[0]!r} is not a code; the codes are {', '.join(ADMISSION_CODES)}")
        return codes

    @model_validator(mode="after")
    def _set_default_model_dir(self) -> "ModelSettings":
        if not self.model_dir.startswith("s3://"):
            folder = absolute_path(Path(self.model_dir or self.home / "models"), "CXR_MODEL_DIR")
            object.__setattr__(self, "model_dir", str(folder))
        return self


class WorkerSettings(ModelSettings):
    """The settings of the queue and of the processes that score.

    Attributes:
        broker_url: a Redis or Valkey URL. The default is the embedded broker in `home`.
        chunk_size: scans in one message; `auto` fits it to the workers, see `worker.messaging.chunk_size`.
        time_budget: seconds that a worker spends on one delivery before it hands the rest back.
        visibility_timeout: seconds after which an unacknowledged message is delivered again; must exceed the time
            budget plus the time to load a model.
        sweep_interval: seconds between two searches for lost work.
        read_threads: scans that are read at once. Reading from a store is mostly waiting.
        decode_threads: how many of these one process decodes at once. The default divides this machine's cores among
            the processes of a supervisor.
        per_gpu: how many processes share each GPU.
        runtime: `auto`, `openvino`, `keras`, or `package.module:callable`, which makes a `Scorer` from an
            artifact.
        precision: the arithmetic of the model; `auto` is never `int8`, whose scores differ.
        max_pixels: an image that claims more pixels, width times height, is rejected before it is decoded.
        reject_colour: an image that has colour in it, such as a screenshot, is rejected and not scored.
        pixel_cache_gb: GiB of pixels that this machine keeps on disk, so that an image that is scored again is not
            decoded again; 0 keeps none.
        log_format: `text` for people, or `json` for log collectors: one object per line.
        metrics_port: the port on which this process serves Prometheus metrics; 0 serves none.
        metrics_host: the address that it listens on. The default is this machine only; a container needs `0.0.0.0`.
        health_seconds: how long a worker may take to load its model, or to decide a scan while there is work, before
            `worker health` reports it as unhealthy.
        stall_seconds: a worker that has work or a model to load, and makes no progress for this long, is restarted by
            its supervisor; must exceed the time to load a model and to score a batch.
        events: send Celery's task events, for Flower.
        stop_rate: a worker stops a run if it had to reject more than this share of the run's scans that it tried last;
            1 stops no run.
        stop_after: the size of that window, in scans. A shorter run is never stopped.
    """

    broker_url: str = ""
    chunk_size: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = "auto"
    time_budget: float = Field(default=15.0, gt=0)
    visibility_timeout: float = Field(default=60.0, gt=0)
    sweep_interval: float = Field(default=5.0, gt=0)
    read_threads: int = Field(default=16, ge=1, le=32)
    decode_threads: int = Field(default_factory=_cores_per_process, ge=1)
    per_gpu: int = Field(default=1, ge=1, le=16)
    runtime: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=2**30)
    reject_colour: bool = False
    pixel_cache_gb: float = Field(default=0.0, ge=0, le=100_000)
    log_format: Literal["text", "json"] = "text"
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    metrics_host: str = "127.0.0.1"
    health_seconds: float = Field(default=300.0, gt=0)
    stall_seconds: float = Field(default=300.0, gt=0)
    events: bool = False
    stop_rate: float = Field(default=0.5, ge=0, le=1)
    stop_after: int = Field(default=100, ge=1, le=100_000)

    @property
    def owns_broker(self) -> bool:
        """Whether this machine uses its own embedded broker."""
        return not self.broker_url

    @property
    def pixel_cache(self) -> Path:
        """The folder of pixels that this machine's workers keep."""
        return self.home / "pixels"

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, url: str) -> str:
        if url and not _is_broker_url(url):
            # Never the address itself: it may hold a password.
            raise ValueError("not a broker's address (redis://HOST:PORT/NUMBER)")
        return url

    @model_validator(mode="after")
    def _check_time_budget(self) -> "WorkerSettings":
        if self.time_budget >= self.visibility_timeout:
            raise ValueError("CXR_TIME_BUDGET must be shorter than CXR_VISIBILITY_TIMEOUT, or work is done twice")
        return self


def _codes_in(text: str) -> frozenset[str]:
    return frozenset(filter(None, map(str.strip, text.split(","))))


def _is_broker_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        _ = parts.port
    except ValueError:
        return False
    is_socket = parts.scheme == "redis+socket"
    options = ("virtual_host",) if is_socket else _BROKER_OPTIONS
    if not url.isprintable() or not set(parse_qs(parts.query, keep_blank_values=True)).issubset(options):
        return False
    database = parts.path.strip("/")
    return parts.scheme in _BROKER_SCHEMES and (is_socket or not database or database.isdigit())
