"""The scans that an evaluation is of, as arrays."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from db.counted import counted
from db.metrics.formulas import Labels, RocCurve, ScoreArray, roc_curve

Mask: TypeAlias = NDArray[np.bool_]
#: (N,) of patients or groups, counted from 0.
Numbers: TypeAlias = NDArray[np.int64]

#: Both classes must be of at least so many scans, and of so many patients: with fewer there is no telling how far a
#: figure may be off.
MIN_OF_EACH_CLASS: Final = 5
#: The kinds of groups.
VIEW, SEX, AGE, MANUFACTURER = "view", "sex", "age", "manufacturer"
#: The name of the group of scans of which the kind is not known.
UNKNOWN: Final = "unknown"
#: The name of the group of scans of which the kind has a value that is not one of its names.
OTHER: Final = "other"
#: A column of views or sexes may hold any text, even a name, so all else is `other`.
_VIEWS: Final = ("PA", "AP", "LATERAL")
_SEXES: Final = ("F", "M")
#: Manufacturers that are groups of their own.
_MANUFACTURERS: Final = 8
#: Upper ends of age bands in years, exclusive, and the bands' names.
_AGE_BANDS: Final = ((18, "0-17"), (40, "18-39"), (60, "40-59"), (80, "60-79"), (np.inf, "80+"))


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of one kind; every scan is in one of them."""

    #: In the order in which they are shown.
    names: tuple[str, ...]
    #: (N,) places in `names`.
    places: Numbers

    def filter(self, mask: Mask) -> "Grouping":
        """The grouping of the scans for which the mask, (N,) bool, is true. Groups without a scan keep their places."""
        return Grouping(names=self.names, places=self.places[mask])


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One finding's labels and scores on N scans whose label of it is known."""

    #: (N,) bool.
    labels: Labels
    #: (N,) float64 in [0, 1].
    scores: ScoreArray
    #: (N,) the patient of each scan: each of 0..P - 1 occurs.
    patients: Numbers

    @cached_property
    def patient_count(self) -> int:
        """P."""
        return int(self.patients.max()) + 1 if len(self.patients) else 0

    @cached_property
    def positives(self) -> int:
        """Scans with a positive label."""
        return int(self.labels.sum())

    @cached_property
    def negatives(self) -> int:
        """Scans with a negative label."""
        return len(self.labels) - self.positives

    @cached_property
    def no_interval(self) -> str | None:
        """Why no figure of these scans has an interval, as a sentence; None where they have."""
        for name, chosen in (("positive", self.labels), ("negative", ~self.labels)):
            scans, patients = int(chosen.sum()), int(np.count_nonzero(np.bincount(self.patients[chosen])))
            if scans < MIN_OF_EACH_CLASS:
                return f"no interval: {counted(scans, f'{name} scan')}, fewer than {MIN_OF_EACH_CLASS}"
            if patients < MIN_OF_EACH_CLASS:
                of = counted(patients, "patient")
                return f"no interval: the {name} scans are of {of}, fewer than {MIN_OF_EACH_CLASS}"
        return None

    @cached_property
    def order(self) -> Numbers:
        """(N,) the places of the scans by descending score. All figures share this one sort, which costs most."""
        return np.argsort(-self.scores)

    @cached_property
    def curve(self) -> RocCurve:
        """The scores in order, with the counts at each."""
        return roc_curve(self.labels, self.scores, order=self.order)

    @cached_property
    def score_places(self) -> Numbers:
        """(N,) the place of each scan's score in `curve.thresholds`."""
        places = np.empty(len(self.scores), np.int64)
        places[self.order] = np.cumsum(np.diff(self.scores[self.order], prepend=np.inf) != 0) - 1
        return places

    def of_patients(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum (N,) values of scans by patient: (P,)."""
        return np.asarray(np.bincount(self.patients, values, minlength=self.patient_count), np.float64)


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """N scans with the scores and labels of F findings."""

    findings: tuple[str, ...]
    #: (N, F) float64 in [0, 1].
    scores: ScoreArray
    #: (N, F) bool; false where the label is not known.
    labels: Labels
    #: (N, F) bool.
    known: Mask
    #: (N,) a number for each patient. A scan without a patient id has a number of its own.
    patients: Numbers
    #: (N,) bool: the scan has a patient id.
    has_patient: Mask
    #: By kind: `view`, `sex`, `age`, `manufacturer`; kinds of which nothing is known may be missing.
    groupings: Mapping[str, Grouping] = field(default_factory=dict)

    def filter(self, mask: Mask) -> "Cohort":
        """The scans for which the mask, (N,) bool, is true."""
        return Cohort(
            findings=self.findings,
            scores=self.scores[mask],
            labels=self.labels[mask],
            known=self.known[mask],
            patients=self.patients[mask],
            has_patient=self.has_patient[mask],
            groupings={kind: grouping.filter(mask) for kind, grouping in self.groupings.items()},
        )

    def sample(self, finding: str, mask: Mask | None = None) -> Sample:
        """One finding's scans whose label is known.

        Args:
            finding: one of `findings`.
            mask: (N,) bool: the scans that count; None means all of them.
        """
        column = self.findings.index(finding)
        rows = self.known[:, column] if mask is None else self.known[:, column] & mask
        patients = self.patients[rows]
        numbers = np.cumsum(np.bincount(patients) > 0) - 1
        return Sample(
            labels=self.labels[rows, column],
            scores=np.ascontiguousarray(self.scores[rows, column]),
            patients=numbers[patients],
        )


def number_patients(ids: Sequence[str | None]) -> tuple[Numbers, Mask]:
    """Number the patients of N scans, and say which scans have a patient id; see `Cohort`."""
    numbers: dict[str | int, int] = {}
    places = [numbers.setdefault(at if name is None else name, len(numbers)) for at, name in enumerate(ids)]
    return np.array(places, np.int64), np.array([name is not None for name in ids], np.bool_)


def group_by(names: Sequence[str], *, order: Sequence[str] = ()) -> Grouping:
    """Group N scans by name: the names of `order` first, then the others from A to Z, `unknown` last."""
    present = set(names)
    others = sorted(present - {*order, UNKNOWN})
    shown = tuple(name for name in (*order, *others, UNKNOWN) if name in present)
    place = {name: number for number, name in enumerate(shown)}
    return Grouping(names=shown, places=np.array([place[name] for name in names], np.int64))


def group_kinds(names: Mapping[str, Sequence[str]]) -> dict[str, Grouping]:
    """Group N scans by each kind, as `Cohort.groupings`; kinds of which nothing is known are left out.

    Args:
        names: by kind, the name of each scan's group, as `view_group`, `sex_group` and `age_band` give it; of
            manufacturers the manufacturer, or `unknown`. The most frequent ones are groups of their own.
    """
    orders = {VIEW: (*_VIEWS, OTHER), SEX: (*_SEXES, OTHER), AGE: tuple(name for _, name in _AGE_BANDS)}
    known = {kind: of_scans for kind, of_scans in names.items() if {*of_scans} - {UNKNOWN}}
    return {
        kind: _group_by_frequency(of_scans) if kind == MANUFACTURER else group_by(of_scans, order=orders[kind])
        for kind, of_scans in known.items()
    }


def view_group(view: str | None) -> str:
    """The name of a view's group: `PA`, `AP`, `LATERAL`, `other` or `unknown`, which is never taken for PA."""
    if view is None:
        return UNKNOWN
    return view.upper() if view.upper() in _VIEWS else OTHER


def sex_group(sex: str | None) -> str:
    """The name of a sex's group: `F`, `M`, `other` or `unknown`."""
    if sex is None:
        return UNKNOWN
    name = {"FEMALE": "F", "MALE": "M"}.get(sex.upper(), sex.upper())
    return name if name in _SEXES else OTHER


def age_band(age_years: float | None) -> str:
    """The name of an age's band, such as `40-59`; `unknown` without an age."""
    if age_years is None:
        return UNKNOWN
    return next(name for end, name in _AGE_BANDS if age_years < end)


def _group_by_frequency(names: Sequence[str]) -> Grouping:
    named = Counter(name for name in names if name not in {OTHER, UNKNOWN})
    frequent = [name for name, _ in named.most_common(_MANUFACTURERS)]
    kept = {*frequent, UNKNOWN}
    return group_by([name if name in kept else OTHER for name in names], order=(*frequent, OTHER))
