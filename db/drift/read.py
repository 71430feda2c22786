"""Reads the scans of nights from SQL, and judges nights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from db.drift.judge import judge_night
from db.drift.night import REFERENCE_NIGHTS, NightDrift
from db.drift.run_scans import RunScans, read_run_scans
from db.errors import UserError
from db.ledger.nightly_runs import NightlyRun, latest_nights
from db.ledger.runs import RunInfo, find_run

#: What names a run as the reference.
_FLAG: Final = "--reference or CXR_DRIFT_REFERENCE"


def read_drift(
    connection: Connection, run_id: int, *, reference: int | None = None, shown: int = REFERENCE_NIGHTS
) -> tuple[NightDrift, ...]:
    """Judge a night and the nights before it; the given one is the last.

    They are the nights of the same job under the same model. A night's scans are those that its run decided itself,
    see `read_run_scans`. A run that is no night counts with all its scans, and so does a run that is given as the
    reference. An outcome that a night and its reference share is the night's alone.

    Args:
        connection: a `read_transaction`.
        run_id: the night's run. Of a run that is no night, the tuple has that one alone, and without a reference it
            is empty.
        reference: the run to compare each of them with; None means the `REFERENCE_NIGHTS` nights before each.
        shown: how many nights at most. One alone takes a few seconds at 10,000 scans a night.

    Raises:
        UserError: there is no such run. A reference that is none any more, or of another model, is no error, because
            runs are pruned and models are rotated while nights go on: then no night is judged, and each says why.
    """
    run = find_run(connection, run_id)
    if reference is None:
        nights = latest_nights(connection, run.id, shown + REFERENCE_NIGHTS)
        return _judge_by_earlier(connection, nights, shown) if nights else ()
    why_not = why_not_comparable(connection, run, reference)
    judged = _judge_by_run(connection, latest_nights(connection, run.id, shown), run.id, None if why_not else reference)
    return tuple(replace(night, not_judged=why_not) for night in judged) if why_not else judged


def why_not_comparable(connection: Connection, run: RunInfo, reference: int) -> str | None:
    """Why a run cannot be compared with a reference, as a sentence; None if it can."""
    if reference == run.id:
        return f"run {run.id} cannot be its own reference; name another run with {_FLAG}"
    return why_no_reference(connection, reference, model=run.model, model_sha256=run.model_sha256)


def why_no_reference(connection: Connection, reference: int, *, model: str, model_sha256: str) -> str | None:
    """Why runs of a model cannot be compared with a run, as a sentence; None if they can."""
    try:
        other = find_run(connection, reference)
    except UserError:
        return f"there is no run {reference} to compare with; name another run with {_FLAG}"
    if other.model_sha256 == model_sha256:
        return None
    return f"run {other.id} is of model {other.model}; name a run of model {model} with {_FLAG}"


def _judge_by_earlier(connection: Connection, nights: Sequence[NightlyRun], shown: int) -> tuple[NightDrift, ...]:
    """Judge the last of these nights, each by those before it."""
    # A scan is read once, though it is in a night and in the references of up to 30 others.
    read = read_run_scans(connection, [night.id for night in nights], own=True)
    return tuple(_judge_by_those_before(nights, at, read) for at in range(len(nights))[-shown:])


def _judge_by_those_before(nights: Sequence[NightlyRun], place: int, read: RunScans) -> NightDrift:
    """Judge a night by the nights before it, each outcome of which counts once."""
    before = read.of_runs(nights[max(0, place - REFERENCE_NIGHTS)].id, nights[place].id - 1).once()
    no_reference = (
        "the nights before it decided nothing new"
        if place
        else "no earlier night of this source was scored by this model; later nights are judged"
    )
    return _judge(nights[place], read, before, no_reference)


def _judge_by_run(
    connection: Connection, nights: Sequence[NightlyRun], run_id: int, reference: int | None
) -> tuple[NightDrift, ...]:
    """Judge each of these nights by a run, or by no scans; without nights, judge the run that is none."""
    judged = nights or [NightlyRun(id=run_id, night="")]
    read = read_run_scans(connection, [night.id for night in judged], own=bool(nights))
    others = read.of_runs(1, 0) if reference is None else read_run_scans(connection, [reference], own=False)
    return tuple(_judge(night, read, others, _why_none_is_left(night, others, reference)) for night in judged)


def _why_none_is_left(night: NightlyRun, reference: RunScans, reference_id: int | None) -> str:
    """Why a run that is the reference has no scan beside those of the night, as a sentence, if it has none."""
    if not len(reference.outcome_ids):
        return f"run {reference_id} has no decided scan"
    return f"every scan of run {reference_id} is one of {'this night' if night.night else f'run {night.id}'}'s"


def _judge(night: NightlyRun, read: RunScans, reference: RunScans, no_reference: str) -> NightDrift:
    own = read.of_runs(night.id, night.id)
    others = reference.without(own).scans
    return judge_night(own.scans, others, run_id=night.id, name=night.night, no_reference=no_reference)
