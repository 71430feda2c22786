"""Commands that read a run: status, failures, report, export."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text
from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.runs import Progress, RunInfo, failures_of
from db.metrics.aggregate import DEFAULT_THRESHOLDS
from db.metrics.scored_scans import HELD_OUT
from producer.commands.common import counts, err, exit_by, find, flat, open_ledger, out, print_json, say
from producer.monitoring.progress import follow, why_stopped
from producer.monitoring.workers_table import WorkerPoller, lines_of
from producer.results_export import export_run
from worker.settings import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class Which:
    """Which figures of a run are asked for."""

    #: A label set's name; None is the run's own.
    labels: str | None = None
    subset: str = HELD_OUT
    #: Each in [0, 1].
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS


AS_EVER = Which()


def show_status(run_id: int | None, *, watch: bool, as_json: bool) -> None:
    """`producer status`."""
    settings, engine = open_ledger()
    workers = WorkerPoller(settings)
    run, now = find(engine, run_id)
    if watch and run.finished_at is None:
        now = follow(engine, run.id, err, alive=lambda: None, workers=workers)
        run, _ = find(engine, run.id)
    if as_json:
        print_json(flat(run, now) | {"workers": workers.as_json()})
    else:
        _say_status(run, now)
        for line in lines_of(workers.heartbeats()):
            say(line)
    if watch:
        exit_by(now)


def _say_status(run: RunInfo, now: Progress) -> None:
    state = f"finished {run.finished_at:%Y-%m-%d %H:%M} UTC" if run.finished_at else "open"
    if run.cancelled_at:
        state = f"cancelled {run.cancelled_at:%Y-%m-%d %H:%M} UTC"
    if run.is_stopped:
        state = f"stopped {run.stopped_at:%Y-%m-%d %H:%M} UTC"
    say(f"run {run.id}: {run.source} under model {run.model} ({run.model_sha256[:12]}), {state}")
    say(counts(now))
    if run.is_stopped:
        say(why_stopped(run, now))


def show_failures(run_id: int | None, *, as_json: bool) -> None:
    """`producer failures`."""
    _, engine = open_ledger()
    run, _ = find(engine, run_id)
    with read_transaction(engine) as connection:
        failures = failures_of(connection, run.id)
    if as_json:
        print_json([asdict(failure) for failure in failures])
        return
    title = f"run {run.id}: {len(failures):,} not scored"
    table = Table(Column("image", overflow="fold"), "state", "reason", "what happened", title=title)
    for failure in failures:
        table.add_row(*map(_as_text, (failure.image_name, failure.state, failure.reason, failure.detail)))
    out.print(table, soft_wrap=False)


def make_report(run_id: int | None, folder: Path | None, *, which: Which, partial: bool, as_json: bool) -> None:
    """`producer report`."""
    settings, engine = open_ledger()
    run, _ = find(engine, run_id)
    report_on(settings, engine, run.id, folder, which=which, partial=partial, as_json=as_json)


def report_on(
    settings: WorkerSettings,
    engine: Engine,
    run_id: int,
    folder: Path | None,
    *,
    which: Which = AS_EVER,
    partial: bool = False,
    as_json: bool = False,
) -> None:
    """Write a run's report and print its figures. Each label set and subset has a folder of its own."""
    # Plots cost a second of imports, which the other commands need not pay.
    from producer.report.table import print_report, to_json
    from producer.report.write import write_report

    folder = folder or settings.home / "reports" / _folder_name(run_id, which)
    with engine.begin() as connection:
        report = write_report(
            connection,
            run_id,
            folder,
            partial=partial,
            label_set=which.labels,
            subset=which.subset,
            thresholds=which.thresholds,
        )
    if as_json:
        print(to_json(report))
        return
    print_report(report, out)
    say(f"report: {folder / 'index.html'}")


def export_command(run_id: int | None, target: Path | None, *, kind: str, wide: bool) -> None:
    """`producer export`."""
    _, engine = open_ledger()
    run, _ = find(engine, run_id)
    if target is None and kind == "parquet" and sys.stdout.isatty():
        raise UserError("parquet is no text for a terminal: say --out FILE")
    with read_transaction(engine) as connection:
        rows = export_run(connection, run.id, target or sys.stdout.buffer, kind=kind, wide=wide)
    err.print(f"run {run.id}: {rows:,} rows written to {target or 'stdout'}", markup=False)


def read_thresholds(text: str | None) -> tuple[float, ...]:
    """The numbers of `0.1,0.2`; None gives the usual ones.

    Raises:
        UserError: one is no number in [0, 1].
    """
    if text is None:
        return DEFAULT_THRESHOLDS
    try:
        thresholds = tuple(float(word) for word in text.split(","))
    except ValueError:
        thresholds = (-1.0,)
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise UserError(f"--thresholds {text}: not numbers from 0 to 1 with commas between")
    return thresholds


def _as_text(name: str) -> Text:
    # A file may be named [red].png or :smile:.png, and hold what would steer a terminal.
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name))


def _folder_name(run_id: int, which: Which) -> str:
    parts = [f"run-{run_id}"]
    if which.labels is not None:
        parts.append(f"labels-{which.labels.replace('/', '_')}")
    if which.subset != HELD_OUT:
        parts.append(which.subset)
    return "-".join(parts)
