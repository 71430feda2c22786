"""Writes a report to a folder: report.json, thresholds.csv, pictures and a page that holds them all."""

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
from db.metrics.aggregate import DEFAULT_THRESHOLDS
from db.metrics.report_queries import ThresholdRow
from db.metrics.scored_scans import HELD_OUT
from producer.report.plots import PICTURES, draw_plots
from producer.report.report import Report, gather
from producer.report.table import (
    UNDEFINED,
    baseline_line,
    coverage_lines,
    mixture,
    rate,
    subject,
    threshold_words,
    to_json,
)
from worker.files import open_atomically

PAGE: Final = "index.html"
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
) -> Report:
    """Write a run's report to a folder, over an earlier report there; other files in it stay.

    The transaction must be one that may write: metrics that are not current are computed anew.

    Args:
        connection: at REPEATABLE READ where a partial report must add up, see `gather`.
        run_id: which run.
        out_dir: made where it is missing.
        partial: report an unfinished run too, marked as such.
        label_set: another than the run's own, by name.
        subset: `held_out`, or `all`.
        thresholds: each in [0, 1].

    Raises:
        UserError: the run is not finished, something asked for does not exist, or the folder cannot be written.
    """
    report, used = gather(
        connection, run_id, partial=partial, label_set=label_set, subset=subset, thresholds=thresholds
    )
    pictures = draw_plots(report, used)
    contents = {
        "report.json": to_json(report).encode(),
        "thresholds.csv": to_csv(report).encode(),
        **pictures,
        PAGE: to_html(report, pictures).encode(),
    }
    try:
        _write_whole(out_dir, contents)
    except OSError as error:
        raise UserError(f"{out_dir}: the report cannot be written here ({error.strerror})") from error
    return report


def to_csv(report: Report) -> str:
    """Every finding at every threshold. Each row says what it is a row of; undefined is empty."""
    head = {
        "run_id": report.run_id,
        "model": report.model,
        "model_sha256": report.model_sha256,
        "label_set": report.label_set,
        "subset": report.subset,
        "is_partial": report.is_partial,
    }
    out = StringIO(newline="")
    names = [*head, *(field.name for field in fields(ThresholdRow))]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(head | asdict(row) for row in report.thresholds)
    return out.getvalue()


def to_html(report: Report, pictures: Mapping[str, bytes]) -> str:
    """One page that needs no other file: its pictures are inside."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"rate": rate, "threshold": threshold_words}
    template = environment.from_string(files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    embedded = {name: b64encode(content).decode() for name, content in pictures.items()}
    return template.render(
        report=report,
        subject=subject(report),
        mixture=mixture(report.coverage.runtimes),
        coverage=coverage_lines(report),
        baselines=baseline_line(report),
        pictures=embedded,
        words=PICTURES,
        undefined=UNDEFINED,
    )


def _write_whole(folder: Path, contents: dict[str, bytes]) -> None:
    """Each file appears whole, and only once all could be written; the last one appears last."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        # The stack closes in reverse.
        for name, content in reversed(contents.items()):
            file = files.enter_context(open_atomically(folder / name))
            file.write(content)
            # A full disk shows here, before any file takes its name.
            file.flush()
        for name in PICTURES.keys() - contents.keys():
            (folder / name).unlink(missing_ok=True)
