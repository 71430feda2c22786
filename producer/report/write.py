"""Writes a report to a folder: report.json, thresholds.csv and a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from db.errors import UserError
from db.metrics.run_metrics import DEFAULT_THRESHOLDS
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import Report, build_report
from producer.report.files import to_csv, to_json
from producer.report.folder import REPORT, check_folder
from producer.report.page import render_page
from worker.files import write_files

_PAGE: Final = "index.html"
#: What reports of earlier versions wrote beside the page. An old plot beside a new page would mislead.
_OLD_PLOTS: Final = ("roc.png", "precision_recall.png", "scores.png", "thresholds.png", "findings.png")


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
    prevalence: Mapping[str, float] | None = None,
    reference: int | None = None,
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
        prevalence: by finding, see `choose_prevalences`.
        reference: the run that nights are compared with, see `read_drift`.

    Raises:
        UserError: see `build_report`; or the folder holds a comparison, or cannot be written.
    """
    check_folder(out_dir, REPORT)
    report, cohort = build_report(
        connection,
        run_id,
        partial=partial,
        label_set=label_set,
        subset=subset,
        thresholds=thresholds,
        finding=finding,
        prevalence=prevalence,
        reference=reference,
    )
    contents = {
        REPORT: [to_json(report).encode()],
        "thresholds.csv": [to_csv(report).encode()],
        _PAGE: [render_page(report, cohort).encode()],
    }
    try:
        write_files(out_dir, contents, obsolete=_old_plots(out_dir))
    except OSError as error:
        raise UserError(f"{out_dir}: the report cannot be written here ({error.strerror})") from error
    return report


def _old_plots(folder: Path) -> tuple[str, ...]:
    """The plots that a report of an earlier version, without a format, left. Other plots are not ours to delete."""
    try:
        report = json.loads((folder / REPORT).read_bytes())
    except (OSError, ValueError):
        return ()
    is_old = isinstance(report, dict) and "run_id" in report and "format" not in report
    return _OLD_PLOTS if is_old else ()
