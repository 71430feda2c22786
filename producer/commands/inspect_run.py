"""Commands that read a run: status, failures, report, export."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.table import Column, Table
from rich.text import Text
from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.ledger_id import ledger_id
from db.ledger.runs import Progress, RunInfo, failures_of
from db.metrics.run_metrics import DEFAULT_THRESHOLDS
from db.metrics.scored_scans import HELD_OUT
from producer.commands.common import (
    err,
    exit_on_rejects,
    format_progress,
    load_run,
    open_ledger,
    out,
    print_json,
    print_line,
    run_as_dict,
)
from producer.counted import counted
from producer.monitoring.progress import follow, why_stopped
from producer.monitoring.workers_table import WorkerPoller, lines_of
from producer.results_export import export_run
from worker.settings import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Which figures of a run a report shows."""

    #: See `find_label_set`; None is the run's own.
    label_set: str | None = None
    #: `held_out` or `all`.
    subset: str = HELD_OUT
    #: Each in [0, 1].
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS


DEFAULT_OPTIONS: Final = ReportOptions()


def status_command(run_id: int | None, *, watch: bool, as_json: bool) -> None:
    """`producer status`."""
    settings, engine = open_ledger()
    workers = WorkerPoller(settings, ledger_id(engine))
    run, counts = load_run(engine, run_id)
    if watch and run.finished_at is None:
        counts = follow(engine, run.id, err, alive=lambda: None, workers=workers)
        run, _ = load_run(engine, run.id)
    if as_json:
        print_json(run_as_dict(run, counts) | {"workers": workers.as_json()})
    else:
        _print_status(run, counts)
        for line in lines_of(workers.heartbeats()):
            print_line(line)
    if watch:
        exit_on_rejects(counts)


def _print_status(run: RunInfo, counts: Progress) -> None:
    print_line(f"run {run.id}: {run.source}, model {run.model} ({run.model_sha256[:12]}), {_format_state(run)}")
    print_line(format_progress(counts))
    if run.is_stopped:
        print_line(why_stopped(run, counts))


def _format_state(run: RunInfo) -> str:
    if run.is_stopped:
        return f"stopped {run.stopped_at:%Y-%m-%d %H:%M} UTC"
    if run.cancelled_at:
        return f"cancelled {run.cancelled_at:%Y-%m-%d %H:%M} UTC"
    return f"finished {run.finished_at:%Y-%m-%d %H:%M} UTC" if run.finished_at else "open"


def failures_command(run_id: int | None, *, as_json: bool) -> None:
    """`producer failures`."""
    _, engine = open_ledger()
    run, _ = load_run(engine, run_id)
    with read_transaction(engine) as connection:
        failures = failures_of(connection, run.id)
    if as_json:
        print_json([asdict(failure) for failure in failures])
        return
    if not failures:
        print_line(f"run {run.id}: no scan was rejected or quarantined")
        return
    title = f"run {run.id}: {counted(len(failures), 'scan')} not scored"
    table = Table(Column("image", overflow="fold"), "state", "reason", "detail", title=title)
    for failure in failures:
        table.add_row(*map(_as_text, (failure.image_name, failure.state, failure.reason, failure.detail)))
    out.print(table, soft_wrap=False)


def report_command(
    run_id: int | None, folder: Path | None, *, options: ReportOptions, partial: bool, as_json: bool
) -> None:
    """`producer report`."""
    settings, engine = open_ledger()
    run, _ = load_run(engine, run_id)
    report_run(settings, engine, run.id, folder, options=options, partial=partial, as_json=as_json)


def report_run(
    settings: WorkerSettings,
    engine: Engine,
    run_id: int,
    folder: Path | None,
    *,
    options: ReportOptions = DEFAULT_OPTIONS,
    partial: bool = False,
    as_json: bool = False,
) -> None:
    """Write a run's report and print its figures. Each label set and subset has a folder of its own.

    Raises:
        UserError: see `write_report`.
    """
    # Importing matplotlib takes a second, which the other commands need not wait for.
    from producer.report.table import print_report, to_json
    from producer.report.write import write_report

    folder = folder or settings.home / "reports" / _folder_name(run_id, options)
    with read_transaction(engine) as connection:
        report = write_report(
            connection,
            run_id,
            folder,
            partial=partial,
            label_set=options.label_set,
            subset=options.subset,
            thresholds=options.thresholds,
        )
    if as_json:
        print(to_json(report))
        return
    print_report(report, out)
    print_line(f"report: {folder / 'index.html'}")


def _folder_name(run_id: int, options: ReportOptions) -> str:
    parts = [f"run-{run_id}"]
    if options.label_set is not None:
        parts.append(f"labels-{options.label_set.replace('/', '_')}")
    if options.subset != HELD_OUT:
        parts.append(options.subset)
    return "-".join(parts)


def export_command(run_id: int | None, target: Path | None, *, export_format: str, wide: bool) -> None:
    """`producer export`."""
    _, engine = open_ledger()
    run, _ = load_run(engine, run_id)
    if target is None and export_format == "parquet" and sys.stdout.isatty():
        raise UserError("parquet is not text for a terminal: add --out FILE")
    with read_transaction(engine) as connection:
        rows = export_run(connection, run.id, target or sys.stdout.buffer, export_format=export_format, wide=wide)
    err.print(f"run {run.id}: {counted(rows, 'row')} written to {target or 'stdout'}", markup=False)


def parse_thresholds(text: str) -> tuple[float, ...]:
    """The numbers of `0.1,0.2`.

    Raises:
        UserError: a part is not a number in [0, 1].
    """
    try:
        thresholds = tuple(float(number) for number in text.split(","))
    except ValueError:
        thresholds = (-1.0,)
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise UserError(f"--thresholds {text}: write numbers from 0 to 1, separated by commas")
    return thresholds


def _as_text(name: str) -> Text:
    # A file may be named [red].png or :smile:.png, or hold control characters.
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name))
