"""The command `failures`: which scans of a run could not be scored, and why."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from db.counted import counted
from db.engine.session import read_transaction
from db.ledger.runs import Failure, failures_of
from producer.commands.common import load_run, on_one_line, open_ledger, print_columns, print_json, print_line


def failures_command(run_id: int | None, *, own: bool, as_json: bool) -> None:
    """`producer failures`; `own` are the scans that the run decided itself."""
    _, engine = open_ledger()
    run, _ = load_run(engine, run_id)
    with read_transaction(engine) as connection:
        failures = failures_of(connection, run.id, own=own)
    name = f"run {run.id} itself" if own else f"run {run.id}"
    if as_json:
        print_json([asdict(failure) for failure in failures])
    elif failures:
        _print_failures(name, failures)
    else:
        print_line(f"{name}: no scan was rejected or quarantined")


def _print_failures(run: str, failures: Sequence[Failure]) -> None:
    """Print how many scans there are for each reason, then each sentence once, above the images that it is about."""
    print_line(f"{run}: {counted(len(failures), 'scan')} not scored")
    by_reason = groupby(sorted(failures, key=_reason), _reason)
    print_columns(("scans", "state", "reason"), [(len(list(scans)), *reason) for reason, scans in by_reason])
    for (_, reason, detail), scans in groupby(sorted(failures, key=_sentence), _sentence):
        print_line(f"\n{reason}: {detail}")
        for failure in scans:
            print_line(f"  {on_one_line(_name(failure))}")


def _name(failure: Failure) -> str:
    """The scan's name, and where its image lies if that does not end with the name, as a DICOM file's."""
    name, location = failure.image_name, failure.location
    return name if location is None or location.endswith(name) else f"{name}  {location}"


def _reason(failure: Failure) -> tuple[str, str]:
    return failure.state, failure.reason


def _sentence(failure: Failure) -> tuple[str, str, str]:
    return (*_reason(failure), failure.detail)
