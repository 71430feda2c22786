"""Intervals by the percentile bootstrap over patients: the judge of the closed forms in `db.evaluation`.

Source: Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13; for clusters: Field and Welsh,
Bootstrapping clustered data, JRSS B 69 (2007).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from db.metrics.formulas import CountArray, Labels, RocCurve, ScoreArray, roc_curve

#: Number of draws, as in Efron and Tibshirani's examples of percentile intervals.
ROUNDS: Final = 1000
#: The ends of a 95% interval.
_PERCENTILES: Final = (2.5, 97.5)
#: If the metric is defined in fewer rounds, its interval is undefined. Our choice: 2.5% of 100 rounds are two.
_MIN_DEFINED_ROUNDS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric's value and the ends of its interval, of 95% unless other percentiles were given; None is undefined."""

    value: float | None
    low: float | None
    high: float | None


def bootstrap_patients(
    patients: Sequence[str],
    metrics: Callable[[CountArray], Sequence[float | None]],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    percentiles: tuple[float, float] = _PERCENTILES,
) -> list[Estimate]:
    """Estimate metrics and their intervals: each round draws as many patients as there are, with replacement.

    Args:
        patients: (N,) the patient of each scan.
        metrics: computes all metrics, given how often each scan counts, int64 (N,).
        rounds: number of draws.
        seed: of the random numbers; the same seed gives the same intervals.
        percentiles: the ends of the intervals, in percent.

    Returns:
        One estimate per metric.
    """
    values = metrics(np.ones(len(patients), np.int64))
    replicates = draw_patients(patients, metrics, rounds=rounds, seed=seed)
    return [
        _estimate(value, [replicate[index] for replicate in replicates], percentiles)
        for index, value in enumerate(values)
    ]


def draw_patients(
    patients: Sequence[str], metrics: Callable[[CountArray], Sequence[float | None]], *, rounds: int, seed: int = 0
) -> list[Sequence[float | None]]:
    """The metrics of each round, see `bootstrap_patients`."""
    names, patient_index = np.unique(np.asarray(patients), return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = (
        rng.multinomial(len(names), np.full(len(names), 1 / len(names))) for _ in range(rounds if len(names) else 0)
    )
    return [metrics(patient_weights[patient_index].astype(np.int64)) for patient_weights in draws]


def weighted_curve(labels: Labels, scores: ScoreArray, weights: CountArray) -> RocCurve:
    """The ROC curve of labels (N,) and scores (N,), given how often each scan counts, int64 (N,)."""
    return roc_curve(np.repeat(labels, weights), np.repeat(scores, weights))


def _estimate(value: float | None, replicates: Sequence[float | None], percentiles: tuple[float, float]) -> Estimate:
    defined = [replicate for replicate in replicates if replicate is not None]
    if value is None or len(defined) < min(_MIN_DEFINED_ROUNDS, len(replicates)) or not defined:
        return Estimate(value=value, low=None, high=None)
    low, high = np.percentile(defined, percentiles)
    return Estimate(value=value, low=float(low), high=float(high))
