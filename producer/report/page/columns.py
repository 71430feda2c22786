"""Writes columns of figures as JSON in few characters. Rounding is done here, and never again on the page."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias

import numpy as np

from db.evaluation.estimate import Estimate
from db.metrics.formulas import RocCurve

#: Whole numbers; None is undefined.
Column: TypeAlias = list[int | None]
#: Differences, and pairs of a difference and its times.
PackedColumn: TypeAlias = list[int | list[int | None] | None]
_SHORTEST_RUN: Final = 3


def thousandths(value: float | None) -> int | None:
    """A figure as `format_rate` shows it, in thousandths."""
    return None if value is None else round(1000 * round(value, 3))


def hundred_thousandths(value: float | None) -> int | None:
    """A figure to draw: a hundredth of a pixel on a plot of 1,000 pixels."""
    return None if value is None else round(100_000 * value)


def estimate_columns(estimates: Sequence[Estimate]) -> list[PackedColumn]:
    """Three columns of differences: the values of estimates, and how far below and above them their intervals reach.

    In thousandths: value less reach is the low end as it is shown. A reach changes less than an end.
    """
    values, lows, highs = (
        [thousandths(end) for end in column]
        for column in zip(*((one.value, one.low, one.high) for one in estimates), strict=True)
    )
    return [differences(values), differences(_reach(lows, values)), differences(_reach(values, highs))]


def _reach(lower: Column, upper: Column) -> Column:
    return [None if a is None or b is None else b - a for a, b in zip(lower, upper, strict=True)]


def differences(column: Iterable[int | None]) -> PackedColumn:
    """Each number less the one before it that is not None; the page adds them up.

    Figures at neighbouring thresholds are close, so their differences have few digits, and many are equal: of three or
    more in a row there is one pair of the difference and its times.
    """
    return [packed for step, run in groupby(_steps(column)) for packed in _pack(step, len([*run]))]


def _steps(column: Iterable[int | None]) -> Iterator[int | None]:
    before = 0
    for number in column:
        yield None if number is None else number - before
        before = before if number is None else number


def _pack(step: int | None, times: int) -> PackedColumn:
    return [[step, times]] if times >= _SHORTEST_RUN else [step] * times


def thin_curve(curve: RocCurve, points: int) -> list[PackedColumn]:
    """The true and the false positives at some of a curve's distinct scores, from the highest score, as differences.

    Half of the points lie evenly along the ROC curve, half evenly by the logarithm of the scans at or above them, for
    precision changes most among the highest scores. A curve of few points is kept whole.

    Args:
        curve: of a sample with both classes.
        points: the most points.
    """
    places = np.arange(len(curve.tp))
    if len(places) > points:
        along = curve.tp / curve.positives + curve.fp / curve.negatives
        predicted = curve.tp + curve.fp
        half = points // 2
        places = np.union1d(
            np.searchsorted(along, np.linspace(0, along[-1], half)),
            np.searchsorted(predicted, np.geomspace(predicted[0], predicted[-1] - 0.5, half)),
        )
    return [differences(counts[places].tolist()) for counts in (curve.tp, curve.fp)]
