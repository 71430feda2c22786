"""How far the scores of all findings together are from those of a reference, as one shift.

Scores of findings rise and fall together. So what moves one up and another down shows here, though each finding alone
moves too little to tell, as under another gain of a detector.
"""

from math import erfc, expm1, log1p, sqrt
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Numbers
from db.evaluation.ranking import centred_ranks

Values: TypeAlias = NDArray[np.float64]

#: The variance of a rank that is spread evenly over a length of 1.
_RANK_VARIANCE: Final = 1 / 12
#: A shift of 37 deviations; one that is rarer cannot be told from it.
_RAREST: Final = 1e-300


class JointShift:
    """The mean ranks of F findings' scores, of N scans of U units."""

    def __init__(self, scores: Values, starts: Numbers, *, night_units: int) -> None:
        """Prepare for nights of `night_units` units.

        Args:
            scores: (N, F), NaN where the scan has no score, in the order of the units.
            starts: (U,) the place of each unit's first scan.
            night_units: at least 1 and fewer than U.
        """
        of_units = np.add.reduceat(np.column_stack([_ranks(column) for column in scores.T]), starts)
        units = len(starts)
        covariance = night_units * (1 - night_units / units) / (units - 1) * (of_units.T @ of_units)
        # One scan more, as for the other quantities; so findings of equal scores do no harm.
        covariance += _RANK_VARIANCE * np.eye(len(covariance))
        # (U, F) what each unit adds to sums that do not depend on each other and have a deviation of 1.
        self._of_units = np.linalg.solve(np.linalg.cholesky(covariance), of_units.T).T.copy()

    def standardise(self, units: Numbers) -> float:
        """The shift of a night of these units, at least 0: as rare as if it were the largest of F independent ones.

        The square of the distance in deviations (Hotelling, The generalization of Student's ratio, Annals of
        Mathematical Statistics 2 (1931)) is about chi-square among permutations, and the cube root of that is about
        normal (Wilson and Hilferty, The distribution of chi-square, PNAS 17 (1931)).
        """
        findings = self._of_units.shape[1]
        distance = float(np.sum(self._of_units[units].sum(axis=0) ** 2))
        spread = 2 / (9 * findings)
        deviate = ((distance / findings) ** (1 / 3) - (1 - spread)) / sqrt(spread)
        rarity = max(_RAREST, erfc(deviate / sqrt(2)) / 2)
        of_one = -expm1(log1p(-rarity) / findings) if rarity < 1 else 1.0
        return -NormalDist().inv_cdf(of_one / 2)


def _ranks(scores: Values) -> Values:
    """(N,) ranks among the scores, from -1/2 to 1/2; 0 where the score is NaN."""
    is_scored = ~np.isnan(scores)
    ranks = np.zeros(len(scores))
    ranks[is_scored] = centred_ranks(scores[is_scored]) / max(1, int(is_scored.sum()))
    return ranks
