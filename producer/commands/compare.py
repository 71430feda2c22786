"""The command `compare`: two runs side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from db.counted import counted
from db.engine.session import read_transaction
from db.errors import UserError
from db.evaluation.run_pair import read_image_names
from producer.commands.common import open_ledger, out, print_columns, print_line
from producer.commands.inspect_run import folder_name
from producer.compare.build import RunComparison
from producer.compare.files import to_json
from producer.compare.table import changed_rows, changed_titles, print_comparison
from producer.compare.write import write_comparison

#: Scans that are listed without their names.
_LISTED: Final = 20


def compare_command(
    first: int,
    second: int,
    folder: Path | None,
    *,
    label_set: str | None,
    subset: str,
    threshold: str | None,
    finding: str | None,
    with_names: bool,
    partial: bool,
    as_json: bool,
) -> None:
    """`producer compare`. Each label set, subset, main finding and threshold has a folder of its own."""
    if with_names and as_json:
        raise UserError("--with-names is for a person's eyes: leave it out with --json, which has no names")
    settings, engine = open_ledger()
    name = folder_name(
        f"compare-{first}-{second}", label_set=label_set, subset=subset, finding=finding, threshold=threshold
    )
    folder = folder or settings.home / "reports" / name
    with read_transaction(engine) as connection:
        comparison, pair = write_comparison(
            connection,
            (first, second),
            folder,
            label_set=label_set,
            subset=subset,
            threshold=threshold,
            finding=finding,
            partial=partial,
        )
        changed = pair.scan_ids[comparison.main.changed].tolist()
        names = read_image_names(connection, changed) if with_names else None
    if as_json:
        print(to_json(comparison))
        return
    print_comparison(comparison, out)
    _print_changed(comparison, changed_rows(comparison, pair), names)
    print_line(f"comparison: {folder / 'index.html'}")


def _print_changed(comparison: RunComparison, rows: Sequence[tuple[Any, ...]], names: Mapping[int, str] | None) -> None:
    """Print the scans of the main finding whose prediction changed: all of them with names, the first ones without."""
    if not rows:
        print_line(f"\nno scan's prediction of {comparison.finding} changed")
        return
    print_line(f"\n{counted(len(rows), 'scan')} whose prediction of {comparison.finding} changed:")
    titles = changed_titles(comparison)
    if names is not None:
        print_columns((*titles, "image"), [(*row, names[row[0]]) for row in rows])
        return
    print_columns(titles, rows[:_LISTED])
    if len(rows) > _LISTED:
        print_line(f"... {len(rows) - _LISTED:,} more; changed.csv has all of them, --with-names lists all with images")
