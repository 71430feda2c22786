"""The scores of both models as one picture: scans counted in squares, because 100,000 points cannot be drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.metrics.formulas import ScoreArray
from producer.report.page.scale import Scale

#: Squares in a row. Scores of rare findings are low: by the square root, they fill more than a corner.
_SQUARES: Final = 40
#: The fewest scans of a square of each shade.
_SHADES: Final = (1, 3, 10, 30, 100, 300, 1000, 3000)
_TICKS: Final = (0, 0.01, 0.1, 0.25, 0.5, 0.75, 1)
#: The whole square, in pixels.
_LEFT: Final = 44
_TOP: Final = 6
_SIDE: Final = 280


@dataclass(frozen=True, kw_only=True)
class Shade:
    """The squares of one shade, in units of a square, counted from the lower left."""

    fewest_scans: int
    path: str


@dataclass(frozen=True, kw_only=True)
class JointScores:
    """What is drawn of a finding's scores; each line is a path."""

    #: Those that occur, the lightest first.
    shades: tuple[Shade, ...]
    #: Where both scores are equal.
    equal: str
    #: Where they are as far apart as the limits of agreement.
    limits: tuple[str, ...]
    #: Of the first score and of the second.
    x: Scale
    y: Scale
    ticks: tuple[float, ...] = _TICKS
    square: float = _SIDE / _SQUARES


def draw_joint_scores(first: ScoreArray, second: ScoreArray, limits: Sequence[float | None]) -> JointScores:
    """Count scans by both scores.

    Args:
        first: (N,) in [0, 1].
        second: (N,) of the same scans.
        limits: differences of second and first score, each of which has a line unless it is None.
    """
    x = Scale(low=0, high=1, start=_LEFT, end=_LEFT + _SIDE, is_root=True)
    y = Scale(low=0, high=1, start=_TOP + _SIDE, end=_TOP, is_root=True)
    return JointScores(
        shades=tuple(_shades(_count(first, second))),
        equal=_line(x, y, 0.0),
        limits=tuple(_line(x, y, limit) for limit in limits if limit is not None),
        x=x,
        y=y,
    )


def _count(first: ScoreArray, second: ScoreArray) -> NDArray[np.int64]:
    """(squares, squares) scans by second and first score."""
    places = [np.minimum(np.sqrt(scores) * _SQUARES, _SQUARES - 1).astype(np.int64) for scores in (second, first)]
    counts = np.bincount(places[0] * _SQUARES + places[1], minlength=_SQUARES**2)
    return counts.reshape(_SQUARES, _SQUARES)


def _shades(counts: NDArray[np.int64]) -> Iterator[Shade]:
    numbers = np.searchsorted(_SHADES, counts, side="right")
    for number, fewest in enumerate(_SHADES, start=1):
        if path := "".join(_outlines(numbers == number)):
            yield Shade(fewest_scans=fewest, path=path)


def _outlines(chosen: NDArray[np.bool_]) -> Iterator[str]:
    """A rectangle around each run of squares of a row."""
    for row, squares in enumerate(chosen.tolist()):
        start = 0
        for is_chosen, run in groupby(squares):
            length = len([*run])
            if is_chosen:
                yield f"M{start} {row}h{length}v1h-{length}z"
            start += length


def _line(x: Scale, y: Scale, difference: float) -> str:
    """Where the second score is the first plus a difference, as far as both are in [0, 1]."""
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    # Evenly by the root: a straight line is a curve on these axes.
    firsts = np.linspace(sqrt(low), sqrt(high), _SQUARES) ** 2
    return "M" + "L".join(f"{x(first)} {y(first + difference)}" for first in firsts.tolist())
