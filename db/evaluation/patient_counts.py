"""Sums over patients of functions of their counts, at many thresholds at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Numbers, Sample

Values: TypeAlias = NDArray[np.float64]

#: Scans whose values are computed at once: few enough to stay in a processor's cache, which takes half the time.
_BLOCK: Final = 8192


@dataclass(frozen=True, kw_only=True)
class PatientCounts:
    """The counts (TP, FP, FN, TN) of every patient while a threshold falls from above all scores to 0.

    As it falls to a scan's score, one count of the scan's patient grows by one and another shrinks. So the sum over
    patients of any function of the counts, at any threshold, is its sum before the first scan and the changes at the
    scans that are predicted to be positive. One sort by patient and score serves all thresholds.
    """

    #: (4, P) while no scan is predicted to be positive.
    first: Values
    #: (4, N) of each scan's patient, before the scan is predicted to be positive.
    before: Values
    #: (4, N) the same, after it.
    after: Values
    #: (N,) at how many of the distinct thresholds each scan is predicted to be positive.
    reached: Numbers
    #: (K,) the place of each threshold among the distinct ones, ascending.
    places: Numbers

    @classmethod
    def of(cls, sample: Sample, thresholds: Sequence[float]) -> "PatientCounts":
        """Count a sample's N scans of P patients at K thresholds; a prediction is score >= threshold."""
        distinct_scores = len(sample.curve.thresholds)
        order = np.argsort(sample.patients * distinct_scores + sample.score_places)
        patients = sample.patients[order]
        classes = np.stack([sample.labels, ~sample.labels]).astype(np.float64)
        totals = np.stack([sample.of_patients(members) for members in classes])
        grows = classes[:, order]
        predicted = np.cumsum(grows, axis=1) - grows - (np.cumsum(totals, axis=1) - totals)[:, patients]
        others = totals[:, patients] - predicted
        distinct = np.unique(np.asarray(thresholds, np.float64))
        return cls(
            first=np.concatenate([np.zeros_like(totals), totals]),
            before=np.concatenate([predicted, others]),
            after=np.concatenate([predicted + grows, others - grows]),
            reached=np.searchsorted(distinct, sample.scores[order], side="right"),
            places=np.searchsorted(distinct, thresholds),
        )

    def sums(self, function: Callable[[Values], Sequence[Values]]) -> Values:
        """(R, K) the sums over patients, at each threshold, of a function from counts (4, M) to R values (M,)."""
        first = np.array([values.sum() for values in function(self.first)])
        at_step = np.zeros((len(first), int(self.places.max(initial=-1)) + 2))
        for start in range(0, len(self.reached), _BLOCK):
            block = slice(start, start + _BLOCK)
            values = zip(function(self.before[:, block]), function(self.after[:, block]), strict=True)
            for row, (before, after) in enumerate(values):
                at_step[row] += np.bincount(self.reached[block], after - before, minlength=at_step.shape[1])
        predicted = np.cumsum(at_step[:, ::-1], axis=1)[:, ::-1]
        return np.asarray(first[:, None] + predicted[:, 1:][:, self.places], np.float64)
