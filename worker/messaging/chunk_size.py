"""Chooses how many scans go into one message, and sends pending scans in chunks of that size."""

import math
import statistics
from collections.abc import Sequence
from typing import Final

from db.engine.bulk_insert import sliced
from db.errors import TemporaryError
from db.ledger.outcomes import PendingScan
from worker.messaging.celery_app import LedgerApp, send_chunk
from worker.messaging.heartbeats import read_heartbeats
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings
from worker.telemetry.device_status import Heartbeat

#: Share of the time budget that a chunk is to take: the pause of 0.1 s between two chunks hardly counts then, and no
#: chunk is cut by its budget.
_BUDGET_SHARE: Final = 0.5
#: So that all workers finish at about the same time.
_CHUNKS_PER_WORKER: Final = 4
#: Chunks are multiples of most models' batch size, so that no batch is half empty.
_MULTIPLE: Final = 32
#: Twelve halvings from there to the one scan that kills its worker.
_MAX_SCANS: Final = 4096
#: Scans in a chunk while no worker has reported its speed.
_DEFAULT_SCANS: Final = 512
#: The number of workers while none has reported itself.
_DEFAULT_WORKERS: Final = 4


def chunk_size(settings: WorkerSettings, app: LedgerApp, model_sha256: str, pending: int) -> int:
    """Scans in one chunk, where `pending` scans wait: as set, or as suits the workers of this model."""
    if settings.chunk_size != "auto":
        return settings.chunk_size
    workers = _workers(app, model_sha256)
    speeds = [worker.speed for worker in workers if worker.speed > 0]
    lasting = statistics.median(speeds) * settings.time_budget * _BUDGET_SHARE if speeds else _DEFAULT_SCANS
    fair = pending / (_CHUNKS_PER_WORKER * (len(workers) or _DEFAULT_WORKERS))
    multiples = math.ceil(min(lasting, fair, _MAX_SCANS) / _MULTIPLE)
    return max(1, multiples) * _MULTIPLE


def send_pending(app: LedgerApp, settings: WorkerSettings, model_sha256: str, scans: Sequence[PendingScan]) -> int:
    """Send pending scans in chunks.

    Returns:
        How many scans were sent.

    Raises:
        TemporaryError: the broker does not answer; SQL still holds the work.
    """
    for piece in sliced(scans, chunk_size(settings, app, model_sha256, len(scans))):
        found = (ChunkScan(outcome_id=scan.outcome_id, location=scan.location) for scan in piece)
        send_chunk(app, Chunk(ledger=app.ledger, model=model_sha256, scans=tuple(found)))
    return len(scans)


def _workers(app: LedgerApp, model_sha256: str) -> list[Heartbeat]:
    try:
        return [one for one in read_heartbeats(app) if one.model_sha12 == model_sha256[:12]]
    except TemporaryError:
        # The send that follows reports it.
        return []
