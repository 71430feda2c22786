"""How many scans go into one message, and sending what waits in such."""

import statistics
from collections.abc import Sequence
from typing import Final

from celery import Celery

from db.engine.bulk_insert import in_pieces
from db.errors import TemporaryError
from db.ledger.outcomes import PendingScan
from worker.messaging.celery_app import send_chunk
from worker.messaging.heartbeats import read_heartbeats
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings
from worker.telemetry.device_status import Heartbeat

#: Of the time budget, what a chunk is to take: what is between two chunks, a tenth of a second, hardly counts then, and
#: none is cut for time.
_SHARE: Final = 0.5
#: Chunks for each worker, so that all end at about the same time.
_EACH: Final = 4
#: As many as most models' batches, so that no batch is half empty.
_STEP: Final = 32
#: Twelve halvings to the one scan that kills its worker.
_MOST: Final = 4096
#: Where no worker says how fast it is.
_USUAL: Final = 512
#: Where none says anything.
_WORKERS: Final = 4


def chunk_size(settings: WorkerSettings, app: Celery, model_sha256: str, pending: int) -> int:
    """Scans in one chunk of so many that wait: as set, or as suits those who will work on them."""
    if settings.chunk_size != "auto":
        return settings.chunk_size
    workers = _workers(app, model_sha256)
    speeds = [worker.speed for worker in workers if worker.speed > 0]
    lasting = statistics.median(speeds) * settings.time_budget * _SHARE if speeds else _USUAL
    fair = pending / (_EACH * (len(workers) or _WORKERS))
    steps = -(-min(lasting, fair, _MOST) // _STEP)
    return max(1, int(steps)) * _STEP


def send_pending(app: Celery, settings: WorkerSettings, model_sha256: str, scans: Sequence[PendingScan]) -> int:
    """Send pending scans in chunks.

    Returns:
        How many scans were sent.

    Raises:
        TemporaryError: the broker does not answer; SQL still holds the work.
    """
    # Pending scans have a location: one without is rejected when its run opens.
    located = [scan for scan in scans if scan.location]
    for piece in in_pieces(located, chunk_size(settings, app, model_sha256, len(scans))):
        found = (ChunkScan(outcome_id=scan.outcome_id, location=scan.location or "") for scan in piece)
        send_chunk(app, Chunk(model=model_sha256, scans=tuple(found)))
    return len(located)


def _workers(app: Celery, model_sha256: str) -> list[Heartbeat]:
    try:
        return [one for one in read_heartbeats(app) if one.model_sha12 == model_sha256[:12]]
    except TemporaryError:
        # Whoever sends will say so.
        return []
