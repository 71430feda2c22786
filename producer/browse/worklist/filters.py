"""The filters of a worklist in words: those in effect, each with what takes it away, and those that a form offers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from db.evaluation.format import format_threshold
from producer.browse.worklist.query import NOT_REVIEWED, UNKNOWN, VERDICTS, WorklistQuery
from producer.browse.worklist.run_table import RunTable
from producer.browse.worklist.selection import choices, select_scans

_LABELS: Final = {"1": "positive", "0": "negative", UNKNOWN: "unknown"}
_REVIEWS: Final = {"agree": "agree", "disagree": "disagree", "bad_image": "bad image", NOT_REVIEWED: "not reviewed"}
_HELD_OUT: Final = {"1": "yes", "0": "no"}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter that is in effect."""

    name: str
    #: Such as `label positive`.
    text: str
    #: The changes of the query that take the filter away.
    changes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A filter of a worklist without scans, and how many scans there would be without it."""

    filter: Filter
    scans: int


def filters_of(query: WorklistQuery) -> list[Filter]:
    """The filters in effect, and the threshold if it is not the finding's own."""
    return [Filter(name=names[0], text=text, changes=_without(query, names)) for names, text in _texts(query)]


def removals(table: RunTable, query: WorklistQuery, filters: list[Filter], reviews: Mapping[int, str]) -> list[Removal]:
    """The filters that alone empty a worklist; none if two of them do."""
    counted = ((one, len(select_scans(table, replace(query, **one.changes), reviews))) for one in filters)
    return [Removal(filter=one, scans=scans) for one, scans in counted if scans]


def offered_values(table: RunTable) -> dict[str, dict[str, str]]:
    """What the fields of a form offer: by field and value, the text. Of what a run has, that is what occurs in it."""
    occurring = choices(table)
    held_out = {value: int(np.count_nonzero(table.states.held_out == int(value))) for value in _HELD_OUT}
    return {
        "finding": {finding: finding for finding in table.findings},
        "label": dict(_LABELS),
        "verdict": {verdict: verdict for verdict in VERDICTS},
        "state": _counted(occurring.states),
        "reason": _counted(occurring.reasons),
        "view": _counted(occurring.views),
        "sex": _counted(occurring.sexes),
        "held_out": {value: f"{_HELD_OUT[value]} ({scans:,})" for value, scans in held_out.items() if scans},
        "review": dict(_REVIEWS),
    }


def _counted(counts: Mapping[str, int]) -> dict[str, str]:
    return {value: f"{value} ({scans:,})" for value, scans in counts.items()}


def _without(query: WorklistQuery, names: tuple[str, ...]) -> dict[str, Any]:
    usual = {"threshold": query.defaults.thresholds[query.finding], "is_new": False}
    return {name: usual.get(name) for name in names}


def _texts(query: WorklistQuery) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields the fields of each filter with what it says."""
    yield from _score_texts(query)
    for name in ("state", "reason", "view", "sex"):
        if (value := getattr(query, name)) is not None:
            yield (name,), f"{name} {value}"
    if (ages := _range(query.age_from, query.age_to)) is not None:
        yield ("age_from", "age_to"), f"age {ages}"
    if query.held_out is not None:
        yield ("held_out",), "held out" if query.held_out else "not held out"
    if query.is_new:
        yield ("is_new",), "new outcome"
    if query.review is not None:
        yield (
            ("review",),
            _REVIEWS[query.review] if query.review == NOT_REVIEWED else f"review {_REVIEWS[query.review]}",
        )


def _score_texts(query: WorklistQuery) -> Iterator[tuple[tuple[str, ...], str]]:
    threshold = format_threshold(query.threshold)
    if query.threshold != query.defaults.thresholds[query.finding]:
        yield ("threshold",), f"threshold {threshold}"
    if (scores := _range(query.low, query.high)) is not None:
        yield ("low", "high"), f"score {scores}"
    if query.label is not None:
        yield ("label",), f"label {_LABELS[query.label]}"
    if query.verdict is not None:
        yield ("verdict",), f"{query.verdict} at {threshold}"


def _range(low: float | None, high: float | None) -> str | None:
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"from {low:g}"
    return None if high is None else f"to {high:g}"
