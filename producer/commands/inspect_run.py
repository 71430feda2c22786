"""Commands that read the scores of a run: report and export."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from db.counted import counted
from db.engine.session import read_transaction
from db.errors import UserError
from db.findings import column_of
from db.metrics.run_metrics import DEFAULT_THRESHOLDS
from db.metrics.scored_scans import HELD_OUT
from producer.commands.common import err, load_run, open_ledger, out, print_line
from producer.results_export import export_reviews, export_run
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
    #: The main finding, see `choose_finding`; None is `Abnormal`, or the model's first.
    finding: str | None = None
    #: By finding, see `choose_prevalences`.
    prevalence: Mapping[str, float] = field(default_factory=dict)
    #: The run that nights are compared with for drift; None is the nights before each.
    reference: int | None = None


DEFAULT_OPTIONS: Final = ReportOptions()


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
    """Write a run's report and print its figures. Each label set, subset and main finding has a folder of its own.

    Raises:
        UserError: see `write_report`.
    """
    # Importing numpy takes a while, which the other commands need not wait for.
    from producer.report.files import to_json
    from producer.report.table import print_report
    from producer.report.write import write_report

    if folder is None:
        label_set, subset, finding = options.label_set, options.subset, options.finding
        name = folder_name(f"run-{run_id}", label_set=label_set, subset=subset, finding=finding)
        folder = settings.home / "reports" / name
    with read_transaction(engine) as connection:
        report = write_report(
            connection,
            run_id,
            folder,
            partial=partial,
            label_set=options.label_set,
            subset=options.subset,
            thresholds=options.thresholds,
            finding=options.finding,
            prevalence=options.prevalence,
            reference=options.reference,
        )
    if as_json:
        print(to_json(report))
        return
    print_report(report, out)
    print_line(f"report: {folder / 'index.html'}")


def folder_name(
    start: str, *, label_set: str | None, subset: str, finding: str | None, threshold: str | None = None
) -> str:
    """The name of a report's or comparison's folder: what it is of, then what was asked for beside the usual."""
    parts = [start]
    if label_set is not None:
        parts.append(f"labels-{label_set.replace('/', '_')}")
    if subset != HELD_OUT:
        parts.append(subset)
    if finding is not None:
        parts.append(column_of(finding).replace("/", "_"))
    if threshold is not None:
        parts.append(f"at-{column_of(threshold.strip()).replace('/', '_')}")
    return "-".join(parts)


def export_command(
    run_id: int | None, target: Path | None, *, export_format: str, wide: bool, reviews: bool = False
) -> None:
    """`producer export`."""
    if wide and reviews:
        raise UserError("--wide is about the rows of results: leave it out with --reviews")
    _, engine = open_ledger()
    run, _ = load_run(engine, run_id)
    if target is None and export_format == "parquet" and sys.stdout.isatty():
        raise UserError("parquet is not text for a terminal: add --out FILE")
    with read_transaction(engine) as connection:
        file = target or sys.stdout.buffer
        if reviews:
            rows = export_reviews(connection, run.id, file, export_format=export_format)
        else:
            rows = export_run(connection, run.id, file, export_format=export_format, wide=wide)
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


def parse_prevalences(texts: Sequence[str]) -> dict[str, float]:
    """The prevalences by finding of `Effusion=0.05,Mass=0.02`, which may be in several texts.

    Raises:
        UserError: a part has no finding, no number between 0 and 1, or the finding of another part.
    """
    prevalences: dict[str, float] = {}
    for part in (part for text in texts for part in text.split(",")):
        name, _, number = part.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if not name.strip() or not 0 < share < 1:
            raise UserError(f"--prevalence {part}: write a finding and a share between 0 and 1, such as Effusion=0.05")
        if column_of(name.strip()) in map(column_of, prevalences):
            raise UserError(f"--prevalence {part}: {name.strip()} has a prevalence already")
        prevalences[name.strip()] = share
    return prevalences
