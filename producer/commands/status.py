"""Commands that show how far work is: status and runs."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Engine

from db.counted import counted
from db.engine.session import read_transaction
from db.ledger.ledger_id import ledger_id
from db.ledger.runs import NO_RUN_YET, Progress, RunInfo, count_notes, count_runs, latest_runs, progress
from producer.commands.common import (
    err,
    exit_on_rejects,
    format_progress,
    load_run,
    open_ledger,
    print_columns,
    print_json,
    print_line,
    run_as_dict,
)
from producer.monitoring.progress import follow, why_stopped
from producer.monitoring.workers_table import WorkerPoller, lines_of


def status_command(run_id: int | None, *, watch: bool, as_json: bool) -> None:
    """`producer status`."""
    settings, engine = open_ledger()
    workers = WorkerPoller(settings, ledger_id(engine))
    if run_id is None and not watch and not _has_runs(engine):
        _print_workers_alone(workers, as_json=as_json)
        return
    run, counts = load_run(engine, run_id)
    if watch and run.finished_at is None:
        counts = follow(engine, run.id, err, alive=lambda: None, workers=workers)
        run, _ = load_run(engine, run.id)
    with read_transaction(engine) as connection:
        notes = count_notes(connection, run.id)
    if as_json:
        print_json(run_as_dict(run, counts) | {"notes": notes, "workers": workers.as_json()})
    else:
        _print_status(run, counts, notes)
        _print_workers(workers)
    if watch:
        exit_on_rejects(counts)


def runs_command(limit: int, *, as_json: bool) -> None:
    """`producer runs`."""
    _, engine = open_ledger()
    with read_transaction(engine) as connection:
        runs = [(run, progress(connection, run.id)) for run in latest_runs(connection, limit)]
        total = count_runs(connection)
    if as_json:
        print_json([run_as_dict(run, counts) for run, counts in runs])
    elif not runs:
        print_line(NO_RUN_YET)
    else:
        _print_runs(runs)
        if total > len(runs):
            print_line(f"the latest {len(runs):,} of {counted(total, 'run')}; --limit {total} shows all")


def _has_runs(engine: Engine) -> bool:
    with read_transaction(engine) as connection:
        return bool(latest_runs(connection, 1))


def _print_workers_alone(workers: WorkerPoller, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": None, "workers": workers.as_json()})
    else:
        print_line(NO_RUN_YET)
        _print_workers(workers)


def _print_workers(workers: WorkerPoller) -> None:
    for line in lines_of(workers.heartbeats()):
        print_line(line)


def _print_status(run: RunInfo, counts: Progress, notes: Mapping[str, int]) -> None:
    print_line(f"run {run.id}: {run.source}, model {run.model} ({run.model_sha256[:12]}), {_state_and_moment(run)}")
    print_line(format_progress(counts))
    if notes:
        print_line(f"scored, but noted: {', '.join(f'{note} {scans:,}' for note, scans in notes.items())}")
    if run.is_stopped:
        print_line(why_stopped(run, counts))


def _state_and_moment(run: RunInfo) -> str:
    moment = _ended_at(run)
    return f"{run.state} {_format_moment(moment)} UTC" if moment else run.state


def _ended_at(run: RunInfo) -> datetime | None:
    """When the run got its state; None while it is open."""
    moments = {"stopped": run.stopped_at, "cancelled": run.cancelled_at, "finished": run.finished_at}
    return moments.get(run.state)


def _format_moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _print_runs(runs: list[tuple[RunInfo, Progress]]) -> None:
    counts = ("expected", "scored", "rejected", "quarantined", "pending")
    titles = ("run", "state", *counts, "opened (UTC)", "ended (UTC)", "model", "dataset", "source")
    print_columns(titles, [_row(run, asdict(found), counts) for run, found in runs])


def _row(run: RunInfo, found: dict[str, int], counts: tuple[str, ...]) -> tuple[str | int, ...]:
    moments = map(_format_moment, (run.created_at, _ended_at(run)))
    numbers = (found[name] for name in counts)
    return (str(run.id), run.state, *numbers, *moments, run.model, run.dataset, run.source)
