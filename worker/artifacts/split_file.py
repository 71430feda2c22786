"""Reads and writes `split.csv`: the scans that a model was fitted, validated and tested on."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from db.errors import UserError
from worker.artifacts.manifest import SPLIT_FILE

SUBSETS: Final = ("train", "validation", "test")

_COLUMNS: Final = ("image_name", "patient_id", "subset")


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One line of `split.csv`: the subset that a scan belonged to when the model was fitted."""

    image_name: str
    patient_id: str | None
    #: One of `SUBSETS`.
    subset: str


def read_split(folder: Path) -> Iterator[SplitRow]:
    """The rows of an artifact's `split.csv` (image_name, patient_id, subset); an empty patient becomes None.

    Raises:
        UserError: the file cannot be read, is not such a table, or names an unknown subset.
    """
    path = folder / SPLIT_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if not set(_COLUMNS) <= set(table.fieldnames or ()):
                raise ValueError("columns are missing")
            yield from (_split_row(cells, f"{path}: line {table.line_num}") for cells in table)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of {', '.join(_COLUMNS)}") from error


def _split_row(cells: dict[str | Any, str | Any], where: str) -> SplitRow:
    name, patient, subset = (cells[column] for column in _COLUMNS)
    # DictReader gives a missing cell the value None, and puts surplus cells under the key None.
    if None in cells or not name or patient is None or subset is None or "\0" in name + patient:
        raise ValueError("a row is too short, too long or without a name")
    if subset not in SUBSETS:
        # Without the cell's text: in a shifted row it may name a patient, and workers log this sentence.
        raise UserError(f"{where}: the subset is not one of {', '.join(SUBSETS)}")
    return SplitRow(image_name=name, patient_id=patient or None, subset=subset)


def write_split(folder: Path, split: Iterable[SplitRow]) -> None:
    """Write `split.csv` in the form that `read_split` reads."""
    with (folder / SPLIT_FILE).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(_COLUMNS)
        lines.writerows((row.image_name, row.patient_id or "", row.subset) for row in split)
