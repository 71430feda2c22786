"""The heart: a chunk's scans become outcomes. Knows no Celery and no SQL.

scans -> read and decode ahead, in a bounded pool -> batches -> model, while the next batch is put together -> outcomes,
made and written while the next are scored
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
from db.ledger.outcomes import Rejected, Scored
from worker.images.pixels import Pixels
from worker.messaging.messages import ChunkScan
from worker.scoring.scorer import Scorer, Scores, score_all, streams_of
from worker.storage.image_store import EncodedImage
from worker.storage.s3_errors import StoreRefused
from worker.telemetry.counters import READ, SCORE, WRITE, Stopwatch

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
_Write: TypeAlias = Callable[[Sequence[Scored | Rejected]], object]

#: Batches that are decoded ahead of the one that is put together: one in hand, one on the way.
_AHEAD = 2
#: Seconds for which the others wait for a scan whose turn it is.
_GLANCE = 0.5


@dataclass(frozen=True, kw_only=True)
class _Ready:
    scan: ChunkScan
    pixels: Pixels
    content: str


_Batch: TypeAlias = tuple[list[_Ready], list[Rejected]]


def score_chunk(
    scans: Sequence[ChunkScan],
    *,
    scorer: Scorer,
    read_image: Callable[[str], EncodedImage],
    to_pixels: Callable[[EncodedImage], Pixels],
    write: _Write,
    pool: Executor,
    out_of_time: Callable[[], bool],
    stopwatch: Stopwatch | None = None,
) -> list[ChunkScan]:
    """Decide every scan of a chunk, or as many as time allows.

    Args:
        scans: those still pending.
        scorer: the loaded model.
        read_image: encoded bytes of a location.
        to_pixels: what the model takes, from those.
        write: commits the outcomes of one batch.
        pool: threads that read and decode.
        out_of_time: asked after each scan, and while one is waited for; true ends the work with what is ready by then.
        stopwatch: where the seconds of each stage but decoding are added; None is nobody's concern.

    Returns:
        The scans without an outcome: not reached in time, or not readable for now.

    Raises:
        OutOfDeviceMemory: the device has no memory for a single scan.
    """
    undecided = {scan.outcome_id: scan for scan in scans}
    stopwatch = stopwatch or Stopwatch()
    prepare = partial(_prepare, read_image=read_image, to_pixels=to_pixels, stopwatch=stopwatch)
    streams = streams_of(scorer)
    decide = partial(_decide, scorer=scorer, turn=BoundedSemaphore(streams), stopwatch=stopwatch)
    with (
        closing(_read_ahead(scans, prepare, pool, _AHEAD * scorer.batch_size, out_of_time)) as ahead,
        _writing_behind(partial(_commit, write=write, stopwatch=stopwatch)) as commit,
    ):
        batches = _batches(ahead, scorer.batch_size, out_of_time)
        # One more than are scored at once: its pixels are put together, or its outcomes made, meanwhile.
        for outcomes in _side_by_side(decide, batches, streams + 1):
            commit(outcomes)
            for outcome in outcomes:
                del undecided[outcome.outcome_id]
    return list(undecided.values())


def _side_by_side(function: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """What a function makes of each item, in order: of so many at once, while the next is got."""
    with ThreadPoolExecutor(count, thread_name_prefix="score") as threads:
        going: deque[Future[R]] = deque()
        for item in items:
            if len(going) == count:
                yield going.popleft().result()
            going.append(threads.submit(function, item))
        while going:
            yield going.popleft().result()


@contextmanager
def _writing_behind(write: _Write) -> Iterator[_Write]:
    """A way to write a batch while the next is scored; what one raises, the next or the block's end raises."""
    with ThreadPoolExecutor(1, thread_name_prefix="write") as thread:
        last: Future[object] = thread.submit(lambda: None)

        def commit(outcomes: Sequence[Scored | Rejected]) -> None:
            nonlocal last
            last.result()
            last = thread.submit(write, outcomes)

        yield commit
        last.result()


def _commit(outcomes: Sequence[Scored | Rejected], *, write: _Write, stopwatch: Stopwatch) -> None:
    with stopwatch.time(WRITE):
        write(outcomes)


def _prepare(
    scan: ChunkScan,
    *,
    read_image: Callable[[str], EncodedImage],
    to_pixels: Callable[[EncodedImage], Pixels],
    stopwatch: Stopwatch,
) -> _Ready | Rejected | None:
    """Pixels, a rejection, or None where the image cannot be read for now."""
    content = None
    try:
        with stopwatch.time(READ):
            image = read_image(scan.location)
        content = image.content
        return _Ready(scan=scan, pixels=to_pixels(image), content=content)
    except PermanentError as error:
        store = error.store if isinstance(error, StoreRefused) else None
        return Rejected(
            outcome_id=scan.outcome_id, reason=error.reason, detail=str(error), content=content, store=store
        )
    except TemporaryError as error:
        logger.warning("outcome %d must wait: %s", scan.outcome_id, error)
        return None


def _read_ahead(
    scans: Sequence[ChunkScan],
    prepare: Callable[[ChunkScan], _Ready | Rejected | None],
    pool: Executor,
    depth: int,
    out_of_time: Callable[[], bool],
) -> Generator[_Ready | Rejected | None, None, None]:
    """What `prepare` makes of each scan, at most `depth` of them under way: in order, but for those that hang."""
    waiting: deque[Future[_Ready | Rejected | None]] = deque()
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
    waiting: deque[Future[_Ready | Rejected | None]], out_of_time: Callable[[], bool]
) -> _Ready | Rejected | None:
    """What is made of the next scan; one that hangs lets the others pass. None where time is over before."""
    while not (waiting[0].done() or wait((waiting[0],), timeout=_GLANCE).done):
        if out_of_time():
            return None
        if any(future.done() for future in waiting):
            waiting.rotate(-1)
    return waiting.popleft().result()


def _batches(
    prepared: Iterator[_Ready | Rejected | None], batch_size: int, out_of_time: Callable[[], bool]
) -> Iterator[_Batch]:
    """Full batches of pixels, each with the rejections met on the way; the last, maybe out of time, may be short.

    As many rejections are not held back for pixels to come: whoever writes them may see that there is no use in more.
    """
    ready: list[_Ready] = []
    rejected: list[Rejected] = []
    for item in prepared:
        if isinstance(item, _Ready):
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


def _decide(
    batch: _Batch, *, scorer: Scorer, turn: AbstractContextManager[object], stopwatch: Stopwatch
) -> list[Scored | Rejected]:
    ready, rejected = batch
    if not ready:
        return [*rejected]
    pixels = np.stack([item.pixels for item in ready])
    with turn, stopwatch.time(SCORE, 1 / streams_of(scorer)):
        scores = score_all(scorer, pixels)
    return [*_scored(ready, scores, scorer), *rejected]


def _scored(batch: Sequence[_Ready], scores: Scores, scorer: Scorer) -> Iterator[Scored]:
    if not ((scores >= 0) & (scores <= 1)).all():
        # Also true of NaN. A model that does this is broken, and none of its scores may be kept.
        raise ArithmeticError("the model gave a score outside [0, 1]")
    for item, row in zip(batch, scores.astype(np.float64), strict=True):
        yield Scored(
            outcome_id=item.scan.outcome_id,
            scores=dict(zip(scorer.findings, row.tolist(), strict=True)),
            content=item.content,
            runtime=scorer.runtime,
            precision=scorer.precision,
        )
