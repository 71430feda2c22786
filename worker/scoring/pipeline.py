"""The heart of the worker: turns a chunk's scans into outcomes. It knows neither Celery nor SQL.

scans -> read and decode ahead, in a bounded pool -> batches -> scores, while the next batch is stacked -> outcomes,
recorded while the next batches are scored
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import BoundedSemaphore
from typing import TypeAlias, TypeVar

import numpy as np

from db.errors import PermanentError, TemporaryError
from db.ledger.outcomes import PendingScan, Rejected, Scored
from worker.images.pixels import PreparedImage
from worker.scoring.scorer import Scorer, Scores, export_of, score_all, streams_of
from worker.storage.image_store import EncodedImage
from worker.storage.s3_errors import StoreRefused
from worker.telemetry.counters import READ, SCORE, WRITE, Stopwatch

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
_RecordOutcomes: TypeAlias = Callable[[Sequence[Scored | Rejected]], object]

#: Batches that are decoded ahead of the one that is stacked.
_BATCHES_AHEAD = 2
#: Seconds for which the other scans wait for the next one in order.
_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class _DecodedScan:
    scan: PendingScan
    image: PreparedImage
    content: str


_Batch: TypeAlias = tuple[list[_DecodedScan], list[Rejected]]


def score_chunk(
    scans: Sequence[PendingScan],
    *,
    scorer: Scorer,
    read_image: Callable[[str, str | None], EncodedImage],
    decode_image: Callable[[EncodedImage], PreparedImage],
    record_outcomes: _RecordOutcomes,
    pool: Executor,
    out_of_time: Callable[[], bool],
    stopwatch: Stopwatch | None = None,
) -> list[PendingScan]:
    """Score or reject every scan of a chunk, or as many as time allows.

    Args:
        scans: the chunk's pending scans.
        scorer: the loaded model.
        read_image: reads the encoded bytes at a location, if they are still the listed version.
        decode_image: turns them into pixels, uint8 (height, width, channels), with notes.
        record_outcomes: commits the outcomes of one batch; called from one thread at a time.
        pool: threads that read and decode.
        out_of_time: asked after each scan and while one is waited for. True ends the work with what is ready.
        stopwatch: adds up the seconds of each stage except decoding.

    Returns:
        The scans without an outcome: time ran out, or their images cannot be read for now.

    Raises:
        OutOfDeviceMemory: the device has no memory for a single scan.
    """
    left = {scan.outcome_id: scan for scan in scans}
    stopwatch = stopwatch or Stopwatch()
    prepare = partial(_prepare, read_image=read_image, decode_image=decode_image, stopwatch=stopwatch)
    streams = streams_of(scorer)
    score = partial(_score_batch, scorer=scorer, turn=BoundedSemaphore(streams), stopwatch=stopwatch)
    with (
        closing(_read_ahead(scans, prepare, pool, _BATCHES_AHEAD * scorer.batch_size, out_of_time)) as ahead,
        _recording_behind(record_outcomes, stopwatch) as record,
    ):
        batches = _batches(ahead, scorer.batch_size, out_of_time)
        # One batch more than the scorer takes at once: its pixels are stacked, or its outcomes built, meanwhile.
        for outcomes in _concurrently(score, batches, streams + 1):
            record(outcomes)
            for outcome in outcomes:
                del left[outcome.outcome_id]
    return list(left.values())


def _concurrently(function: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Map a function over items in order, `count` calls at once, while the next item is produced."""
    with ThreadPoolExecutor(count, thread_name_prefix="score") as threads:
        running: deque[Future[R]] = deque()
        for item in items:
            if len(running) == count:
                yield running.popleft().result()
            running.append(threads.submit(function, item))
        while running:
            yield running.popleft().result()


@contextmanager
def _recording_behind(record_outcomes: _RecordOutcomes, stopwatch: Stopwatch) -> Iterator[_RecordOutcomes]:
    """Record each batch while the next is scored; an error is raised by the next call, or at the end."""
    with ThreadPoolExecutor(1, thread_name_prefix="record") as thread:
        last: Future[object] = thread.submit(lambda: None)

        def timed(outcomes: Sequence[Scored | Rejected]) -> None:
            with stopwatch.time(WRITE):
                record_outcomes(outcomes)

        def record(outcomes: Sequence[Scored | Rejected]) -> None:
            nonlocal last
            last.result()
            last = thread.submit(timed, outcomes)

        yield record
        last.result()


def _prepare(
    scan: PendingScan,
    *,
    read_image: Callable[[str, str | None], EncodedImage],
    decode_image: Callable[[EncodedImage], PreparedImage],
    stopwatch: Stopwatch,
) -> _DecodedScan | Rejected | None:
    """Read and decode one scan: its pixels, its rejection, or None where the image cannot be read for now."""
    content = None
    try:
        with stopwatch.time(READ):
            image = read_image(scan.location, scan.version)
        content = image.content
        return _DecodedScan(scan=scan, image=decode_image(image), content=content)
    except PermanentError as error:
        store = error.store if isinstance(error, StoreRefused) else None
        return Rejected(
            outcome_id=scan.outcome_id, reason=error.reason, detail=str(error), content=content, store=store
        )
    except TemporaryError as error:
        logger.warning("outcome %d returns to the queue: %s", scan.outcome_id, error)
        return None


def _read_ahead(
    scans: Sequence[PendingScan],
    prepare: Callable[[PendingScan], _DecodedScan | Rejected | None],
    pool: Executor,
    depth: int,
    out_of_time: Callable[[], bool],
) -> Generator[_DecodedScan | Rejected | None, None, None]:
    """Prepare scans in order, `depth` of them at once; scans that hang are overtaken."""
    waiting: deque[Future[_DecodedScan | Rejected | None]] = deque()
    rest = iter(scans)
    try:
        while True:
            while len(waiting) < depth and (scan := next(rest, None)) is not None:
                waiting.append(pool.submit(prepare, scan))
            if not waiting:
                return
            yield _next(waiting, out_of_time)
    finally:
        for future in waiting:
            future.cancel()


def _next(
    waiting: deque[Future[_DecodedScan | Rejected | None]], out_of_time: Callable[[], bool]
) -> _DecodedScan | Rejected | None:
    """Wait for the next prepared scan; a scan that hangs lets the others pass. None where time runs out first."""
    while not (waiting[0].done() or wait((waiting[0],), timeout=_POLL_SECONDS).done):
        if out_of_time():
            return None
        if any(future.done() for future in waiting):
            waiting.rotate(-1)
    return waiting.popleft().result()


def _batches(
    prepared: Iterator[_DecodedScan | Rejected | None], batch_size: int, out_of_time: Callable[[], bool]
) -> Iterator[_Batch]:
    """Full batches of decoded scans, each with the rejections met on the way; the last batch may be short.

    A batch of rejections alone is not held back until pixels come: recording it may stop the run.
    """
    ready: list[_DecodedScan] = []
    rejected: list[Rejected] = []
    for item in prepared:
        if isinstance(item, _DecodedScan):
            ready.append(item)
        elif item is not None:
            rejected.append(item)
        if len(ready) == batch_size:
            yield ready, rejected
            ready, rejected = [], []
        elif len(rejected) == batch_size:
            yield [], rejected
            rejected = []
        if out_of_time():
            break
    if ready or rejected:
        yield ready, rejected


def _score_batch(
    batch: _Batch, *, scorer: Scorer, turn: AbstractContextManager[object], stopwatch: Stopwatch
) -> list[Scored | Rejected]:
    ready, rejected = batch
    if not ready:
        return [*rejected]
    pixels = np.stack([item.image.pixels for item in ready])
    with turn, stopwatch.time(SCORE, 1 / streams_of(scorer)):
        scores = score_all(scorer, pixels)
    return [*_scored(ready, scores, scorer), *rejected]


def _scored(batch: Sequence[_DecodedScan], scores: Scores, scorer: Scorer) -> Iterator[Scored]:
    if not ((scores >= 0) & (scores <= 1)).all():
        # Also true of NaN. Such a model is broken, and none of its scores may be kept.
        raise ArithmeticError("the model gave a score outside [0, 1]")
    for item, row in zip(batch, scores.astype(np.float64), strict=True):
        yield Scored(
            outcome_id=item.scan.outcome_id,
            scores=dict(zip(scorer.findings, row.tolist(), strict=True)),
            content=item.content,
            runtime=scorer.runtime,
            precision=scorer.precision,
            export_sha256=export_of(scorer),
            notes=item.image.notes,
        )
