"""How sure a figure is: the percentile bootstrap over patients, for the scans of one patient say much the same.

Source: Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13; of clusters: Field and Welsh,
Bootstrapping clustered data, JRSS B 69 (2007).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from db.metrics.formulas import Steps

ROUNDS: Final = 1000
_PERCENTILES: Final = (2.5, 97.5)
#: With fewer rounds in which a figure is defined, its interval is not.
_LEAST: Final = 100


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure and its interval, of 95% unless other ends were asked for; None is undefined."""

    value: float | None
    low: float | None
    high: float | None


def bootstrap_patients(
    patients: Sequence[str],
    figures: Callable[[Steps], Sequence[float | None]],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    percentiles: tuple[float, float] = _PERCENTILES,
) -> list[Figure]:
    """Draw as many patients as there are, with replacement, and see how the figures vary.

    Args:
        patients: (N,) whose each scan is.
        figures: computes them all, given how often each scan counts, int64 (N,).
        rounds: draws.
        seed: the same, the same intervals.
        percentiles: the interval's ends.
    """
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    values = figures(np.ones(len(owner), np.int64))
    rng = np.random.default_rng(seed)
    drawn = (
        rng.multinomial(len(names), np.full(len(names), 1 / len(names))) for _ in range(rounds if len(names) else 0)
    )
    varied = [figures(times[owner].astype(np.int64)) for times in drawn]
    return [_figure(value, [one[at] for one in varied], percentiles) for at, value in enumerate(values)]


def _figure(value: float | None, varied: Sequence[float | None], percentiles: tuple[float, float]) -> Figure:
    known = [one for one in varied if one is not None]
    if value is None or len(known) < min(_LEAST, len(varied)) or not known:
        return Figure(value=value, low=None, high=None)
    low, high = np.percentile(known, percentiles)
    return Figure(value=value, low=float(low), high=float(high))
