"""The quantities by which a night is compared with its reference, of the scans of both."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from db.drift.night import OUTCOME, SCORE
from db.drift.scans import DecidedScans, Names
from db.drift.score_shift import decile_cuts
from db.drift.shift_test import Feature
from db.evaluation.cohort import UNKNOWN, Grouping, Numbers, group_by, group_kinds


@dataclass(frozen=True, kw_only=True)
class Quantities:
    """K quantities of one kind, or of one finding's scores."""

    kind: str
    #: (K,) the name of each.
    names: Sequence[str]
    #: (K,) of scores, the least score that counts; of other kinds None.
    cuts: Sequence[float | None]
    feature: Feature


@dataclass(frozen=True, kw_only=True)
class Units:
    """The units of N scans: a patient's scans of one run are alike, so they stay together."""

    #: (N,) the scans' places, unit by unit.
    order: Numbers
    #: (U,) scans of each unit.
    counts: Numbers

    @classmethod
    def of(cls, scans: DecidedScans) -> "Units":
        """Sort at least one scan by run and patient."""
        order = np.lexsort((scans.patients, scans.runs))
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (np.diff(scans.runs[order]) != 0) | (np.diff(scans.patients[order]) != 0)
        return cls(order=order, counts=np.diff(np.flatnonzero(begins), append=len(order)))


def known_in_night_alone(night: DecidedScans, reference: DecidedScans) -> tuple[str, ...]:
    """Kinds of groups that the night knows and the reference does not.

    A reference of PNG files names no manufacturer: beside it, every night of DICOM would shift by that alone. A night
    of which nothing is known any more lost its headers, and that is a shift.
    """
    return tuple(
        kind for kind, names in night.groups.items() if _is_unknown(reference.groups[kind]) and not _is_unknown(names)
    )


def quantities(
    night: DecidedScans, reference: DecidedScans, units: tuple[Units, Units], *, left_out: Collection[str]
) -> Iterator[Quantities]:
    """Outcomes, kinds of scans and each finding's scores, of the night's scans and then the reference's, by unit.

    Kinds in `left_out` are none.
    """
    orders = tuple(of.order for of in units)
    yield _of_groups(OUTCOME, group_by(_pooled(night.outcomes, reference.outcomes, orders)))
    kept = {kind: names for kind, names in night.groups.items() if kind not in left_out}
    kinds = {kind: _pooled(names, reference.groups[kind], orders) for kind, names in kept.items()}
    for kind, grouping in group_kinds(kinds).items():
        yield _of_groups(kind, grouping)
    for column, finding in enumerate(night.findings):
        parts = (scans.scores[order, column] for scans, order in zip((night, reference), orders, strict=True))
        yield _of_scores(finding, np.concatenate(tuple(parts)))


def _is_unknown(names: Names) -> bool:
    return {names.names[place] for place in np.unique(names.places).tolist()} <= {UNKNOWN}


def _of_groups(kind: str, grouping: Grouping) -> Quantities:
    """The share of each group."""
    size = len(grouping.names)
    feature = Feature(places=grouping.places, members=np.eye(size, dtype=np.bool_), eligible=np.ones(size, np.bool_))
    return Quantities(kind=kind, names=grouping.names, cuts=[None] * size, feature=feature)


def _of_scores(finding: str, scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Quantities:
    """The shares of scored scans with at least each of the deciles' scores; the last value is that of no score."""
    is_scored = ~np.isnan(scores)
    cuts = decile_cuts(scores[is_scored])
    places = np.where(is_scored, np.sum(scores >= cuts[:, None], axis=0), len(cuts) + 1)
    eligible = np.arange(len(cuts) + 2) <= len(cuts)
    members = (np.arange(len(cuts) + 2) > np.arange(len(cuts))[:, None]) & eligible
    feature = Feature(places=places, members=members, eligible=eligible)
    return Quantities(kind=SCORE, names=[finding] * len(cuts), cuts=cuts.tolist(), feature=feature)


def _pooled(night: Names, reference: Names, orders: Sequence[Numbers]) -> list[str]:
    """The name of each scan of the night and then of the reference, unit by unit."""
    pairs = zip((night, reference), orders, strict=True)
    return [of.names[place] for of, order in pairs for place in of.places[order].tolist()]
