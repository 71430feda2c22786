"""Which scans a worklist shows, and in which order. Pure: it reads nothing but arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.ledger.run_columns import UNKNOWN_ANSWER, ScanIds, TextColumn
from db.metrics.scored_scans import Mask
from producer.browse.worklist.query import BY_SCAN, CORRECT, DESCENDING, NOT_REVIEWED, UNKNOWN, WorklistQuery
from producer.browse.worklist.run_table import RunTable


def select_scans(table: RunTable, query: WorklistQuery, reviews: Mapping[int, str]) -> ScanIds:
    """(K,) int64: the ids of the scans that the query means, on all pages, in its order.

    Scans without a score follow those with one. Ties are in the order of scan ids.

    Args:
        table: of the run.
        query: its `finding` is one of the table's.
        reviews: the latest verdict of each reviewed scan.
    """
    masks = list(_masks(table, query, reviews))
    if query.sort == BY_SCAN:
        return table.scan_ids[np.logical_and.reduce(masks)] if masks else table.scan_ids
    order = table.order(query.finding, descending=query.sort == DESCENDING)
    return table.scan_ids[order[np.logical_and.reduce(masks)[order]] if masks else order]


def _masks(table: RunTable, query: WorklistQuery, reviews: Mapping[int, str]) -> Iterator[Mask]:
    """Yields (N,) bool for each filter of the query. A column that no filter needs is not read."""
    yield from _score_masks(table, query)
    yield from _outcome_masks(table, query)
    yield from _fact_masks(table, query)
    if query.review is not None:
        wanted = None if query.review == NOT_REVIEWED else query.review
        ids = [scan for scan, verdict in reviews.items() if wanted in (None, verdict)]
        yield np.isin(table.scan_ids, np.asarray(ids, np.int64), invert=wanted is None)


def _score_masks(table: RunTable, query: WorklistQuery) -> Iterator[Mask]:
    # A comparison with NaN is false: who has no score is in no range.
    if query.low is not None:
        yield table.scores(query.finding) >= query.low
    if query.high is not None:
        yield table.scores(query.finding) <= query.high
    if query.label is not None:
        wanted = UNKNOWN_ANSWER if query.label == UNKNOWN else int(query.label)
        yield table.labels(query.finding) == wanted
    if query.verdict is not None:
        yield _judged(table, query)


def _judged(table: RunTable, query: WorklistQuery) -> Mask:
    """Whether the prediction is the label, or is not; neither of a scan without a label or a score."""
    scores, labels = table.scores(query.finding), table.labels(query.finding)
    is_correct: Mask = (scores >= query.threshold) == (labels == 1)
    is_known: Mask = (labels != UNKNOWN_ANSWER) & ~np.isnan(scores)
    return is_known & (is_correct if query.verdict == CORRECT else ~is_correct)


def _outcome_masks(table: RunTable, query: WorklistQuery) -> Iterator[Mask]:
    if query.state is not None:
        yield table.states.states.equals(query.state)
    if query.reason is not None:
        yield table.states.reasons.equals(query.reason)
    if query.held_out is not None:
        yield table.states.held_out == int(query.held_out)
    if query.is_new:
        yield ~table.states.reused


def _fact_masks(table: RunTable, query: WorklistQuery) -> Iterator[Mask]:
    if query.view is not None:
        yield _is_text(table.states.views, query.view)
    if query.sex is not None:
        yield _is_text(table.states.sexes, query.sex)
    if query.age_from is not None:
        yield table.states.ages >= query.age_from
    if query.age_to is not None:
        yield table.states.ages <= query.age_to


def _is_text(column: TextColumn, value: str) -> Mask:
    mask = column.equals(value)
    return mask | column.equals(None) if value == UNKNOWN else mask


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Where a scan stands in a worklist."""

    #: The ids of the scans before and after it; None at an end.
    previous: int | None
    next: int | None
    #: From 1 to `total`.
    place: int
    total: int


def neighbours(ids: NDArray[np.int64], scan_id: int) -> Neighbours | None:
    """Find a scan in the (K,) ids of a worklist; None if it is not in there."""
    found = np.flatnonzero(ids == scan_id)
    if not len(found):
        return None
    place = int(found[0])
    return Neighbours(
        previous=int(ids[place - 1]) if place else None,
        next=int(ids[place + 1]) if place + 1 < len(ids) else None,
        place=place + 1,
        total=len(ids),
    )


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The values that occur in a run, each with its number of scans, the most frequent first. UNKNOWN means NULL."""

    states: Mapping[str, int]
    #: Of the scans that have one.
    reasons: Mapping[str, int]
    views: Mapping[str, int]
    sexes: Mapping[str, int]


def choices(table: RunTable) -> Choices:
    """What a form can offer to filter by."""
    reasons = table.states.reasons.counts()
    reasons.pop(None, None)
    return Choices(
        states=table.counts,
        reasons={str(reason): scans for reason, scans in reasons.items()},
        views=_named(table.states.views),
        sexes=_named(table.states.sexes),
    )


def _named(column: TextColumn) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value, scans in column.counts().items():
        name = UNKNOWN if value is None else value
        counts[name] = counts.get(name, 0) + scans
    return counts
