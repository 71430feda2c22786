"""Generated nights of a hospital: patients whose scans are alike, some of whom return in other nights."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from db.drift.scans import SCORED, DecidedScans, Names
from db.evaluation.cohort import AGE, MANUFACTURER, SEX, VIEW, Numbers

Values = NDArray[np.float64]

#: The share of scans of AP, as in NIH's set outside its test split.
USUAL_AP: Final = 0.35
#: The share of scans that are rejected.
USUAL_REJECTED: Final = 0.006
_OUTCOMES: Final = (SCORED, "unreadable", "missing", "too_large")
#: The share of rejects that has each reason.
_REASONS: Final = (0.6, 0.3, 0.1)
_SEXES: Final = ("F", "M", "unknown")
_AGES: Final = ("0-17", "18-39", "40-59", "60-79", "80+", "unknown")
#: More than are groups of their own.
_MANUFACTURERS: Final = (*(f"maker {number}" for number in range(10)), "unknown")
#: The chance that a patient has one more scan in the night.
_ONE_MORE: Final = 0.35
_MOST_SCANS: Final = 12
#: The share of a night's patients that are of the ward.
USUAL_RETURNING: Final = 0.2
#: How many nights the ward's patients suffice for, if each were seen once.
_WARD_NIGHTS: Final = 8
#: The variance of a score's log odds that is the patient's, in all findings or in one; that is the night's; and the
#: scan's own.
_PATIENT, _OF_FINDING, _STAY, _SCAN = 0.8, 0.6, 0.4, 0.4


@dataclass(frozen=True, kw_only=True)
class Patients:
    """P patients."""

    #: (P,) places in the kinds' names, and by kind.
    kinds: dict[str, Numbers]
    #: (P, F) log odds of the scores.
    odds: Values
    #: (P,) standard normal: the lower, the rather the patient is in bed.
    bedridden: Values

    def of(self, places: Numbers) -> "Patients":
        """Some of the patients."""
        kinds = {kind: values[places] for kind, values in self.kinds.items()}
        return Patients(kinds=kinds, odds=self.odds[places], bedridden=self.bedridden[places])

    def with_others(self, others: "Patients") -> "Patients":
        """These and then others."""
        return Patients(
            kinds={kind: np.concatenate([values, others.kinds[kind]]) for kind, values in self.kinds.items()},
            odds=np.concatenate([self.odds, others.odds]),
            bedridden=np.concatenate([self.bedridden, others.bedridden]),
        )


class Hospital:
    """Makes nights of about `scans` scans."""

    def __init__(
        self, rng: np.random.Generator, *, scans: int, findings: int = 15, returning: float = USUAL_RETURNING
    ) -> None:
        """Admit the ward, whose patients return; all others come once. `returning` is the ward's share of a night."""
        self._rng, self._scans, self._findings, self._returning = rng, scans, findings, returning
        self._ward = self._admit(round(returning * _WARD_NIGHTS * scans * (1 - _ONE_MORE)))
        self._base = rng.uniform(-3.5, -1, findings)
        # Findings that a patient in bed has more often, or less.
        self._of_ap = rng.uniform(-0.3, 0.9, findings)
        self._next_patient = len(self._ward.bedridden)

    def night(
        self, run_id: int, *, ap: float = USUAL_AP, recorded_ap: float | None = None, rejected: float = USUAL_REJECTED
    ) -> DecidedScans:
        """The scans of one night.

        Args:
            run_id: the night's run.
            ap: the share of scans of AP.
            recorded_ap: the share that is said to be of AP, if that is not the same.
            rejected: the share of scans that are rejected.
        """
        numbers, patients, unit = self._draw_units()
        lying = self._lying(patients, unit)
        scores = expit(self._log_odds(patients, unit) + np.outer(lying < _quantile(ap), self._of_ap))
        outcomes = self._outcomes(unit, rejected)
        scores[outcomes > 0] = np.nan
        views = np.where(lying < _quantile(ap if recorded_ap is None else recorded_ap), 1, 0)
        places = {VIEW: views, **{kind: of_patients[unit] for kind, of_patients in patients.kinds.items()}}
        names = {VIEW: ("PA", "AP"), SEX: _SEXES, AGE: _AGES, MANUFACTURER: _MANUFACTURERS}
        return DecidedScans(
            findings=tuple(f"finding {number}" for number in range(self._findings)),
            runs=np.full(len(unit), run_id),
            patients=numbers[unit],
            scores=scores,
            outcomes=Names(names=_OUTCOMES, places=outcomes),
            groups={kind: Names(names=names[kind], places=of_scans) for kind, of_scans in places.items()},
        )

    def _draw_units(self) -> tuple[Numbers, Patients, Numbers]:
        """The numbers of the night's patients, what they are like, and (N,) the patient of each scan."""
        # Patients come as they come: with a fixed number of scans instead, few patients would have many scans each.
        units = round(self._scans * (1 - _ONE_MORE))
        counts = np.minimum(self._rng.geometric(1 - _ONE_MORE, units), _MOST_SCANS)
        unit = np.repeat(np.arange(units), counts)
        returning = self._rng.choice(len(self._ward.bedridden), round(self._returning * units), replace=False)
        fresh = np.arange(units - len(returning)) + self._next_patient
        self._next_patient += len(fresh)
        patients = self._ward.of(returning).with_others(self._admit(len(fresh)))
        order = self._rng.permutation(units)
        return np.concatenate([returning, fresh])[order], patients.of(order), unit

    def _admit(self, count: int) -> Patients:
        rng = self._rng
        return Patients(
            kinds={
                SEX: rng.choice(len(_SEXES), count, p=(0.45, 0.53, 0.02)),
                AGE: rng.choice(len(_AGES), count, p=(0.03, 0.2, 0.32, 0.34, 0.1, 0.01)),
                # Some manufacturers are rare.
                MANUFACTURER: rng.geometric(0.35, count).clip(1, len(_MANUFACTURERS)) - 1,
            },
            odds=_PATIENT**0.5 * rng.standard_normal((count, 1))
            + _OF_FINDING**0.5 * rng.standard_normal((count, self._findings)),
            bedridden=rng.standard_normal(count),
        )

    def _lying(self, patients: Patients, unit: Numbers) -> Values:
        """(N,) standard normal, half of it the patient's and most of the rest the stay's."""
        stay, scan = self._rng.standard_normal(len(patients.bedridden)), self._rng.standard_normal(len(unit))
        return np.asarray(0.5**0.5 * patients.bedridden[unit] + 0.4**0.5 * stay[unit] + 0.1**0.5 * scan, np.float64)

    def _log_odds(self, patients: Patients, unit: Numbers) -> Values:
        stay = _STAY**0.5 * self._rng.standard_normal(patients.odds.shape)
        own = _SCAN**0.5 * self._rng.standard_normal((len(unit), self._findings))
        return np.asarray(self._base + (patients.odds + stay)[unit] + own, np.float64)

    def _outcomes(self, unit: Numbers, rejected: float) -> Numbers:
        """(N,) places in the outcomes; half of the rejects are of patients of whom all scans are rejected."""
        half = np.array(_REASONS) * rejected / 2
        chances = (1 - half.sum(), *half)
        of_units = self._rng.choice(len(_OUTCOMES), int(unit[-1]) + 1, p=chances)
        own = self._rng.choice(len(_OUTCOMES), len(unit), p=chances)
        return np.where(own > 0, own, of_units[unit])


def pooled(nights: Sequence[DecidedScans]) -> DecidedScans:
    """All scans of some nights of one hospital."""

    def joined(parts: list[Names]) -> Names:
        return Names(names=parts[0].names, places=np.concatenate([part.places for part in parts]))

    return DecidedScans(
        findings=nights[0].findings,
        runs=np.concatenate([night.runs for night in nights]),
        patients=np.concatenate([night.patients for night in nights]),
        scores=np.concatenate([night.scores for night in nights]),
        outcomes=joined([night.outcomes for night in nights]),
        groups={kind: joined([night.groups[kind] for night in nights]) for kind in nights[0].groups},
    )


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)
