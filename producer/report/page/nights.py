"""The last nights, each beside its reference, and what shifted in the report's own night."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from db.drift.night import ALL_SCORES, OUTCOME, SCORE, NightDrift, ScoreShift, Shift
from db.drift.sentences import (
    describe_drift,
    describe_reference,
    describe_shift,
    format_deviations,
    format_p_value,
    format_shares,
    name_quantity,
)
from db.evaluation.cohort import AGE, MANUFACTURER, SEX, VIEW
from producer.report.page.scale import Scale

#: Of the strip of nights, in pixels.
_LEFT: Final = 34
_RIGHT: Final = 356
_TOP: Final = 16
_BOTTOM: Final = 92
#: Deviations that the strip shows at least: the largest of many shifts is about 3 in a night like the others.
_HIGHEST: Final = 6
#: In the order of the page.
_KINDS: Final = (ALL_SCORES, OUTCOME, VIEW, SEX, AGE, MANUFACTURER)


@dataclass(frozen=True, kw_only=True)
class NightRow:
    """One night in the table and in the strip."""

    drift: NightDrift
    #: The largest shift in words, or why the night is not judged.
    words: str
    p_value: str


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """The share of scans of one group or with one outcome."""

    name: str
    night: str
    reference: str
    deviations: str
    shift: Shift


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """A finding's scores."""

    scores: ScoreShift
    deviations: str
    shift: Shift


@dataclass(frozen=True, kw_only=True)
class DriftView:
    """What the page shows of nights."""

    #: The report's own night, as a sentence, and what it was compared with.
    sentence: str
    reference: str
    #: The oldest first; the last is the report's own.
    rows: tuple[NightRow, ...]
    #: Of the strip: nights by number, and deviations.
    x: Scale
    y: Scale
    #: Of the report's own night.
    scores: tuple[ScoreRow, ...]
    shares: tuple[ShareRow, ...]


def drift_view(nights: Sequence[NightDrift]) -> DriftView | None:
    """What the page shows of nights, the last of which is the report's own; None if there are none."""
    if not nights:
        return None
    own = nights[-1]
    highest = max([_HIGHEST, *(abs(night.largest.standardised) for night in nights if night.largest)])
    of_scores = {shift.name: shift for shift in own.shifts if shift.kind == SCORE}
    shifts = [shift for shift in own.shifts if shift.kind != SCORE]
    return DriftView(
        sentence=describe_drift(own, name_manufacturer=True),
        reference=describe_reference(own),
        rows=tuple(_night_row(night) for night in nights),
        x=Scale(low=0, high=len(nights), start=_LEFT, end=_RIGHT),
        y=Scale(low=0, high=highest, start=_BOTTOM, end=_TOP),
        scores=tuple(_score_row(scores, of_scores[scores.finding]) for scores in own.scores),
        shares=tuple(_share_row(shift) for shift in sorted(shifts, key=_order)),
    )


def _night_row(drift: NightDrift) -> NightRow:
    words = f"not judged: {drift.not_judged}"
    if drift.largest is not None:
        words = describe_shift(drift.largest, name_manufacturer=True)
    return NightRow(drift=drift, words=words, p_value=format_p_value(drift.p_value))


def _score_row(scores: ScoreShift, shift: Shift) -> ScoreRow:
    return ScoreRow(scores=scores, deviations=format_deviations(shift), shift=shift)


def _share_row(shift: Shift) -> ShareRow:
    night, reference = format_shares(shift)
    name, deviations = name_quantity(shift, name_manufacturer=True), format_deviations(shift)
    return ShareRow(name=name, night=night, reference=reference, deviations=deviations, shift=shift)


def _order(shift: Shift) -> tuple[int, str]:
    return _KINDS.index(shift.kind), shift.name
