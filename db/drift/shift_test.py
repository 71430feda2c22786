"""Whether a night's scans differ from a reference's: the largest standardised shift, and a permutation of units.

A unit is what must stay together: a patient's scans of one run, because they are alike. If nothing differs, any units
might as well have been the night's. So the test draws as many units at random, again and again, and counts how often
their largest shift reaches that of the night. All quantities are permuted together, so one level holds for all of them,
however they depend on each other.

Sources: Westfall and Young, Resampling-based multiple testing (1993), for the largest of many; Besag and Clifford,
Sequential Monte Carlo p-values, Biometrika 78 (1991), for the end of the permutations.
docs/drift.md has how often nights raise an alarm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from db.drift.joint_shift import JointShift
from db.evaluation.cohort import Mask, Numbers

Values: TypeAlias = NDArray[np.float64]

#: With this number of permutations a p-value of 0.01 is exact, as 10 of 1,000.
MAX_PERMUTATIONS: Final = 999
#: That of a night that none of them reaches.
LEAST_P_VALUE: Final = 1 / (MAX_PERMUTATIONS + 1)
#: Once this number of permutations reach the night's largest shift, p is known to a third and the test ends.
_ENOUGH: Final = 10
#: Shifts that differ by less are equal but for rounding.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Feature:
    """Something that each of N scans has one of C values of, and the K quantities that are shares of scans by it."""

    #: (N,) places of values, in [0, C).
    places: Numbers
    #: (K, C) whether scans of a value count for a quantity.
    members: Mask
    #: (C,) whether scans of a value are among those that the quantities are shares of.
    eligible: Mask

    @cached_property
    def residuals(self) -> Values:
        """(K, C) what a scan of a value adds to a quantity's count, less what it is expected to add."""
        totals = np.bincount(self.places, minlength=len(self.eligible))
        pooled = (self.members @ totals) / max(1, int(totals[self.eligible].sum()))
        return np.asarray(self.members - pooled[:, None] * self.eligible, np.float64)

    def variances(self, unit: Numbers, units: int, night_units: int) -> Values:
        """(K,) of the sum of the residuals of the night's units among permutations, which draw without replacement.

        Source: Cochran, Sampling techniques (1977), theorem 2.2. The residuals of all units sum up to 0.

        Args:
            unit: (N,) of each scan, in [0, `units`).
            units: how many units there are.
            night_units: how many of them are the night's.
        """
        size = len(self.eligible)
        of_units = (
            np.bincount(unit * size + self.places, minlength=units * size).reshape(units, size).astype(np.float64)
        )
        # A unit's residual is a product of a row of `residuals` and its counts, so their products make all squares.
        squares = np.einsum("kc,cd,kd->k", self.residuals, of_units.T @ of_units, self.residuals)
        return np.asarray(night_units * (1 - night_units / units) * squares / (units - 1), np.float64)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """(K,) quantities in the night and in the reference; NaN where they are shares of no scan."""

    night: Values
    reference: Values
    #: Night minus reference, in deviations of that difference among permutations.
    standardised: Values
    #: The shift of all findings' scores together, see `JointShift`.
    joint: float


class ShiftTest:
    """N scans of U units, of which the first ones are the night's."""

    def __init__(self, features: Sequence[Feature], scores: Values, counts: Numbers, *, night_units: int) -> None:
        """Prepare the test.

        Args:
            features: of all scans, which are in the order of their units.
            scores: (N, F) of the same scans; NaN where the scan has no score.
            counts: (U,) scans of each unit.
            night_units: how many of the units, at least 1 and fewer than U, are those of the night.
        """
        self._counts, self._starts, self._night = counts, np.cumsum(counts) - counts, np.arange(night_units)
        offsets = np.cumsum([0, *(len(feature.eligible) for feature in features)])
        # (N, features) values of all features, so that a permutation is one gather and one count.
        self._values = np.empty((len(features[0].places), len(features)), np.int32)
        for column, feature in enumerate(features):
            self._values[:, column] = feature.places + offsets[column]
        self._totals = np.bincount(self._values.ravel(), minlength=offsets[-1])
        self._members = _block_diagonal([feature.members for feature in features])
        self._eligible = _block_diagonal([np.broadcast_to(one.eligible, one.members.shape) for one in features])
        self._residuals = _block_diagonal([feature.residuals for feature in features])
        unit = np.repeat(np.arange(len(counts)), counts)
        variances = np.concatenate([feature.variances(unit, len(counts), night_units) for feature in features])
        # One scan more, so that a reason or a manufacturer that a scan in 1,000 has is no shift where one more has it.
        self._deviations = np.sqrt(variances + 1)
        self._joint = JointShift(scores, self._starts, night_units=night_units)

    def shares(self) -> Shares:
        """The quantities in the night as it is."""
        night = self._count(self._night)
        return Shares(
            night=self._shares_of(night),
            reference=self._shares_of(self._totals - night),
            standardised=self._standardise(night),
            joint=self._joint.standardise(self._night),
        )

    def p_value(self, rng: np.random.Generator) -> float:
        """How often permutations have a largest shift that reaches the night's; the night itself counts as one.

        So it is at most 0.01 if fewer than `_ENOUGH` of all permutations reach it, and above 0.0109 otherwise.
        """
        observed = self._largest(self._night) * (1 - _ROUNDING)
        reached = done = 0
        while reached < _ENOUGH and done < MAX_PERMUTATIONS:
            units = rng.choice(len(self._counts), len(self._night), replace=False, shuffle=False)
            reached += self._largest(units) >= observed
            done += 1
        return (reached + 1) / (done + 1)

    def _largest(self, units: Numbers) -> float:
        """The largest shift if these were the night's units."""
        return max(float(np.abs(self._standardise(self._count(units))).max()), self._joint.standardise(units))

    def _count(self, units: Numbers) -> Numbers:
        """The scans of some units by value."""
        counts = self._counts[units]
        ends = np.cumsum(counts)
        rows = np.repeat(self._starts[units] - ends + counts, counts) + np.arange(ends[-1])
        return np.bincount(self._values[rows].ravel(), minlength=len(self._totals))

    def _standardise(self, night: Numbers) -> Values:
        """(K,) shifts of a night, from the number of its scans of each value.

        Let q be the share of all scans. A night's n scans of which y count have the residual r = y - q n, and those of
        the reference have -r. So the difference of the shares is exactly r (1 / n + 1 / n'), and r stands for it: a sum
        over units, the variance of which among permutations is known.
        """
        return np.asarray(self._residuals @ night / self._deviations, np.float64)

    def _shares_of(self, scans: Numbers) -> Values:
        of = self._eligible @ scans
        shares = np.full(len(of), np.nan)
        np.divide(self._members @ scans, of, out=shares, where=of > 0)
        return shares


def _block_diagonal(blocks: Sequence[NDArray[Any]]) -> Values:
    matrix = np.zeros(np.sum([block.shape for block in blocks], axis=0))
    row = column = 0
    for block in blocks:
        matrix[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return matrix
