"""The `drift` command: whether a night's scans differ from those of a reference."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from sqlalchemy import Connection

from db.counted import counted
from db.drift.night import SCORE, NightDrift
from db.drift.read import read_drift, why_not_comparable
from db.drift.sentences import describe_drift, format_deviations, format_p_value, format_shares, name_quantity
from db.engine.session import read_transaction
from db.errors import UserError
from db.evaluation.format import UNDEFINED, format_rate
from db.ledger.nightly_runs import latest_ended_night
from db.ledger.runs import Progress, RunInfo, find_run, progress
from producer.commands.common import open_ledger, print_columns, print_json, print_line

#: Shifts that are printed, the largest first.
_SHIFTS: Final = 12
_NO_NIGHT: Final = (
    "there is no ended night yet, which 'producer nightly' opens; to compare a run with another one, name both: "
    "'producer drift --run ID --reference RUN'"
)


def drift_command(run_id: int | None, reference: int | None, *, as_json: bool) -> None:
    """`producer drift`. An alarm is no failure: the exit code is 0.

    Raises:
        UserError: there is no such run, or nothing to compare it with.
    """
    _, engine = open_ledger()
    with read_transaction(engine) as connection:
        run = _choose_run(connection, run_id)
        nights = _read(connection, run, reference)
        counts = progress(connection, run.id)
    if as_json:
        print_json([asdict(night) for night in nights])
        return
    _print_night(run, counts, nights[-1])
    if len(nights) > 1:
        _print_nights(nights, "those before it" if reference is None else f"run {reference}")


def _choose_run(connection: Connection, run_id: int | None) -> RunInfo:
    chosen = latest_ended_night(connection) if run_id is None else run_id
    if chosen is None:
        raise UserError(_NO_NIGHT)
    return find_run(connection, chosen)


def _read(connection: Connection, run: RunInfo, reference: int | None) -> tuple[NightDrift, ...]:
    if reference is not None and (why_not := why_not_comparable(connection, run, reference)):
        raise UserError(why_not)
    nights = read_drift(connection, run.id, reference=reference)
    if not nights:
        raise UserError(
            f"run {run.id} is no night, so there are no nights before it: name the run to compare it with, "
            f"'producer drift --run {run.id} --reference RUN'"
        )
    return nights


def _print_night(run: RunInfo, counts: Progress, night: NightDrift) -> None:
    name = f"night {night.night}, " if night.night else ""
    decided = counted(night.scans, "decided scan")
    print_line(f"Run {run.id}, {name}model {run.model} ({run.model_sha256[:12]}): {decided}")
    if counts.pending:
        print_line(f"The run is not finished: {counted(counts.pending, 'more scan')} may change what is said here.")
    print_line(describe_drift(night, name_manufacturer=True))
    if night.shifts:
        _print_shifts(night)
    if night.scores:
        _print_scores(night)


def _print_shifts(night: NightDrift) -> None:
    print_line("\nWhat shifted most, in deviations of like nights")
    rows = [
        (
            f"{format_deviations(shift):>10}",
            *(f"{share:>9}" for share in format_shares(shift)),
            name_quantity(shift, name_manufacturer=True),
        )
        for shift in night.shifts[:_SHIFTS]
    ]
    print_columns(("deviations", "    night", "reference", "share of scans"), rows)
    if len(night.shifts) > _SHIFTS:
        print_line(f"the {_SHIFTS} largest of {len(night.shifts)} shifts; --json has all")


def _print_scores(night: NightDrift) -> None:
    print_line("\nScores; KS is the largest difference of shares, PSI the stability index")
    shifts = {shift.name: shift for shift in night.shifts if shift.kind == SCORE}
    rows = [
        (
            f"{format_rate(of.night_mean):>10}",
            f"{format_rate(of.reference_mean):>14}",
            f"{format_rate(of.kolmogorov_smirnov):>5}",
            f"{format_rate(of.population_stability_index):>5}",
            f"{format_deviations(shifts[of.finding]):>10}",
            of.finding,
        )
        for of in night.scores
    ]
    print_columns(("night mean", "reference mean", "   KS", "  PSI", "deviations", "finding"), rows)


def _print_nights(nights: Sequence[NightDrift], reference: str) -> None:
    print_line(f"\nThe last {len(nights)} nights, each against {reference}")
    print_columns(("night", "scans", "       p", "alarm", "shift", "of"), [_row(night) for night in nights])


def _row(night: NightDrift) -> tuple[str | int, ...]:
    alarm = {True: "ALARM", False: "no", None: "not judged"}[night.is_alarm]
    largest = night.largest
    # Without the cut, which the table of shifts has: a line shall fit into 80 columns.
    of = name_quantity(largest, with_cut=False, name_manufacturer=True) if largest else ""
    shift = format_deviations(largest) if largest else UNDEFINED
    return (night.night, night.scans, f"{format_p_value(night.p_value):>8}", alarm, f"{shift:>5}", of)
