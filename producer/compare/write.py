"""Writes a comparison to a folder: compare.json, changed.csv and a page."""

from pathlib import Path

from sqlalchemy import Connection

from db.errors import UserError
from db.evaluation.run_pair import RunPair
from db.metrics.scored_scans import HELD_OUT
from producer.compare.build import RunComparison, build_comparison
from producer.compare.files import to_csv, to_json
from producer.compare.page import render_comparison
from producer.report.folder import COMPARISON, check_folder
from worker.files import write_files


def write_comparison(
    connection: Connection,
    runs: tuple[int, int],
    out_dir: Path,
    *,
    label_set: str | None = None,
    subset: str = HELD_OUT,
    threshold: str | None = None,
    finding: str | None = None,
    partial: bool = False,
) -> tuple[RunComparison, RunPair]:
    """Write the comparison of two runs to a folder. It replaces an earlier one there; other files stay.

    Args:
        connection: see `build_comparison`.
        runs: the first and the second run.
        out_dir: created if it does not exist.
        label_set: judges both runs; None means each run's own, see `build_comparison`.
        subset: `held_out` or `all`.
        threshold: a number or a name, see `build_comparison`.
        finding: the main finding, see `choose_finding`.
        partial: compare unfinished runs, too, and mark the comparison as partial.

    Raises:
        UserError: see `build_comparison`; or the folder holds a report, or cannot be written.
    """
    check_folder(out_dir, COMPARISON)
    comparison, pair = build_comparison(
        connection,
        *runs,
        label_set=label_set,
        subset=subset,
        threshold=threshold,
        finding=finding,
        partial=partial,
    )
    contents = {
        COMPARISON: [to_json(comparison).encode()],
        # Many predictions of a million scans may change.
        "changed.csv": (part.encode() for part in to_csv(comparison, pair)),
        "index.html": [render_comparison(comparison, pair).encode()],
    }
    try:
        write_files(out_dir, contents)
    except OSError as error:
        raise UserError(f"{out_dir}: the comparison cannot be written here ({error.strerror})") from error
    return comparison, pair
