"""Judges a night's scans against a reference's."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from db.counted import counted
from db.drift.night import ALL_FINDINGS, ALL_SCORES, LEVEL, MIN_SCANS, SCORE, NightDrift, ScoreShift, Shift
from db.drift.quantities import Quantities, Units, known_in_night_alone, quantities
from db.drift.scans import DecidedScans
from db.drift.score_shift import score_shift
from db.drift.shift_test import Shares, ShiftTest


def judge_night(
    night: DecidedScans,
    reference: DecidedScans,
    *,
    run_id: int,
    name: str,
    no_reference: str = "its reference has no scan",
) -> NightDrift:
    """Compare a night with a reference.

    Args:
        night: the scans of the night.
        reference: those of the reference, none of which is a scan of the night.
        run_id: the night's run, which is also the seed of the permutations: a second call finds the same.
        name: the night's, see `NightDrift.night`.
        no_reference: why the reference has no scan, as a sentence, if it has none.
    """
    where = "in this night" if name else "in this run"
    why_not = _too_few(len(night.runs), where) or _too_few_to_judge_by(len(reference.runs), no_reference)
    left_out = () if why_not else known_in_night_alone(night, reference)
    p_value, shifts = (None, ()) if why_not else _test(night, reference, left_out, seed=run_id)
    return NightDrift(
        run_id=run_id,
        night=name,
        reference_runs=tuple(np.unique(reference.runs).tolist()),
        scans=len(night.runs),
        reference_scans=len(reference.runs),
        not_judged=why_not,
        p_value=p_value,
        is_alarm=None if p_value is None else p_value <= LEVEL,
        shifts=shifts,
        scores=() if why_not else tuple(_score_shifts(night, reference)),
        not_compared=left_out,
    )


def _too_few(scans: int, where: str) -> str | None:
    """Why a night of this number of scans is not judged, as a sentence; None if it is."""
    if scans >= MIN_SCANS:
        return None
    if not scans:
        return f"nothing new was decided {where}"
    were = "scan was" if scans == 1 else "scans were"
    return f"only {scans} {were} decided {where}; a night under {MIN_SCANS} is not judged"


def _too_few_to_judge_by(scans: int, no_reference: str) -> str | None:
    """Why a reference of this number of scans judges nothing, as a sentence; None if it does."""
    if scans >= MIN_SCANS:
        return None
    few = f"its reference has only {counted(scans, 'scan')}; a night is judged against at least {MIN_SCANS}"
    return few if scans else no_reference


def _test(
    night: DecidedScans, reference: DecidedScans, left_out: Sequence[str], *, seed: int
) -> tuple[float, tuple[Shift, ...]]:
    """The p-value, and the shifts in descending order."""
    units = Units.of(night), Units.of(reference)
    found = tuple(quantities(night, reference, units, left_out=left_out))
    counts = np.concatenate([of.counts for of in units])
    scores = np.concatenate([night.scores[units[0].order], reference.scores[units[1].order]])
    test = ShiftTest([one.feature for one in found], scores, counts, night_units=len(units[0].counts))
    shares, p_value = test.shares(), test.p_value(np.random.default_rng(seed))
    shifts = (*_largest_of_findings(list(_shifts(found, shares)), night.findings), _of_all_scores(shares.joint))
    return p_value, tuple(sorted(shifts, key=lambda shift: -abs(shift.standardised)))


def _shifts(found: Sequence[Quantities], shares: Shares) -> Iterator[Shift]:
    described = ((one.kind, *each) for one in found for each in zip(one.names, one.cuts, strict=True))
    figures = zip(shares.night.tolist(), shares.reference.tolist(), shares.standardised.tolist(), strict=True)
    for (kind, name, cut), (night, reference, standardised) in zip(described, figures, strict=True):
        yield Shift(
            kind=kind,
            name=name,
            cut=cut,
            night=None if np.isnan(night) else night,
            reference=None if np.isnan(reference) else reference,
            standardised=standardised,
        )


def _of_all_scores(standardised: float) -> Shift:
    return Shift(kind=ALL_SCORES, name=ALL_FINDINGS, cut=None, night=None, reference=None, standardised=standardised)


def _largest_of_findings(shifts: Sequence[Shift], findings: Sequence[str]) -> Iterator[Shift]:
    """The shifts, but of each finding the one whose cut shows most; without a cut, as if nothing is known of it."""
    yield from (shift for shift in shifts if shift.kind != SCORE)
    nothing = Shift(kind=SCORE, name="", cut=None, night=None, reference=None, standardised=0.0)
    for finding in findings:
        of_finding = (shift for shift in shifts if shift.kind == SCORE and shift.name == finding)
        yield max(of_finding, key=lambda shift: abs(shift.standardised), default=replace(nothing, name=finding))


def _score_shifts(night: DecidedScans, reference: DecidedScans) -> Iterator[ScoreShift]:
    for column, finding in enumerate(night.findings):
        scores, others = (scans.scores[:, column] for scans in (night, reference))
        yield score_shift(finding, scores[~np.isnan(scores)], others[~np.isnan(others)])
