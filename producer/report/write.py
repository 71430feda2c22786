"""Writes a report to a folder: report.json, thresholds.csv, plots, and a page that embeds them."""

import csv
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from db.errors import UserError
from db.metrics.run_metrics import DEFAULT_THRESHOLDS, ThresholdRow
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import Report, build_report
from producer.report.plots import PLOTS, draw_plots
from producer.report.table import (
    UNDEFINED,
    baseline_line,
    coverage_lines,
    describe_subset,
    format_rate,
    format_threshold,
    heading_notes,
    held_out_note,
    left_out_line,
    scope_line,
    to_json,
)
from worker.files import make_folder, open_atomically

_PAGE: Final = "index.html"
_TEMPLATE: Final = "index.html.j2"


def write_report(
    connection: Connection,
    run_id: int,
    out_dir: Path,
    *,
    partial: bool = False,
    label_set: str | None = None,
    subset: str = HELD_OUT,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    finding: str | None = None,
) -> Report:
    """Write a run's report to a folder. It replaces an earlier report there; other files stay.

    Args:
        connection: see `build_report`.
        run_id: the run.
        out_dir: created if it does not exist.
        partial: report an unfinished run, too, and mark the report as partial.
        label_set: the label set to judge by, see `find_label_set`.
        subset: `held_out` or `all`.
        thresholds: each in [0, 1].
        finding: the main finding, see `choose_finding`.

    Raises:
        UserError: see `build_report`; or the folder cannot be written.
    """
    report, used = build_report(
        connection,
        run_id,
        partial=partial,
        label_set=label_set,
        subset=subset,
        thresholds=thresholds,
        finding=finding,
    )
    plots = draw_plots(report, used)
    contents = {
        "report.json": to_json(report).encode(),
        "thresholds.csv": to_csv(report).encode(),
        **plots,
        _PAGE: to_html(report, plots).encode(),
    }
    try:
        _write_files(out_dir, contents)
    except OSError as error:
        raise UserError(f"{out_dir}: the report cannot be written here ({error.strerror})") from error
    return report


def to_csv(report: Report) -> str:
    """Every finding at every threshold. Each row names its run, model, label set and subset; undefined is empty."""
    scope = {
        "run_id": report.run_id,
        "model": report.model,
        "model_sha256": report.model_sha256,
        "label_set": report.label_set,
        "label_set_sha256": report.label_set_sha256,
        "subset": report.subset,
        "held_out_note": held_out_note(report),
        "is_partial": report.is_partial,
    }
    out = StringIO(newline="")
    names = [*scope, *(field.name for field in fields(ThresholdRow))]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(scope | asdict(row) for row in report.thresholds)
    return out.getvalue()


def to_html(report: Report, plots: Mapping[str, bytes]) -> str:
    """One page that needs no other file: its plots are embedded."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"rate": format_rate, "threshold": format_threshold}
    template = environment.from_string(files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    embedded = {name: b64encode(content).decode() for name, content in plots.items()}
    return template.render(
        report=report,
        scope=scope_line(report),
        subset=describe_subset(report),
        notes=heading_notes(report),
        coverage=coverage_lines(report),
        left_out=left_out_line(report),
        baselines=baseline_line(report),
        plots=embedded,
        descriptions=PLOTS,
        undefined=UNDEFINED,
    )


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write each file atomically, and none before all could be written; the last one, the page, appears last."""
    make_folder(folder)
    with ExitStack() as files:
        # The stack closes them in reverse.
        for name, content in reversed([*contents.items()]):
            file = files.enter_context(open_atomically(folder / name))
            file.write(content)
            # A full disk shows here, before any file takes its name.
            file.flush()
        for name in PLOTS.keys() - contents.keys():
            (folder / name).unlink(missing_ok=True)
