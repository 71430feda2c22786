"""Reads and writes `split.csv`: the scans that a model was fitted, validated and tested on."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from db.errors import UserError
from db.labels.csv_file import normalise_patient_id
from db.labels.text import InvalidLabels
from worker.artifacts.manifest import SPLIT_FILE

SUBSETS: Final = ("train", "validation", "test")

_COLUMNS: Final = ("image_name", "patient_id", "subset")
#: Older artifacts have no such columns, and older programs do not read them.
_LATER_COLUMNS: Final = ("dataset", "content")
_CONTENT: Final = re.compile(r"(sha256:[0-9a-f]{64})?")


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One line of `split.csv`: the subset that a scan belonged to when the model was fitted."""

    image_name: str
    patient_id: str | None
    #: One of `SUBSETS`.
    subset: str
    #: In which the image name and the patient id are unique; None means the manifest's dataset.
    dataset: str | None = None
    #: `sha256:...` of the encoded image; None if it is not known.
    content: str | None = None


def read_split(folder: Path) -> Iterator[SplitRow]:
    """The rows of an artifact's `split.csv` (image_name, patient_id, subset, dataset, content); an empty cell is None.

    Raises:
        UserError: the file cannot be read, is not such a table, names an unknown subset, or has an id that a
            spreadsheet changed.
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
    dataset, content = (cells.get(column, "") for column in _LATER_COLUMNS)
    # DictReader gives a missing cell the value None, and puts surplus cells under the key None.
    if None in cells or not name or None in {patient, subset, dataset, content}:
        raise ValueError("a row is too short, too long or without a name")
    if "\0" in name + patient + dataset or not _CONTENT.fullmatch(content):
        raise ValueError("a cell holds a NUL, or a content is not a sha256")
    try:
        normalise_patient_id(patient)
    except InvalidLabels as error:
        raise UserError(f"{where}: the patient id {error}") from error
    if subset not in SUBSETS:
        # Without the cell's text: in a shifted row it may name a patient, and workers log this sentence.
        raise UserError(f"{where}: the subset is not one of {', '.join(SUBSETS)}")
    return SplitRow(
        image_name=name, patient_id=patient or None, subset=subset, dataset=dataset or None, content=content or None
    )


def write_split(folder: Path, split: Iterable[SplitRow]) -> None:
    """Write `split.csv` in the form that `read_split` reads."""
    with (folder / SPLIT_FILE).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow((*_COLUMNS, *_LATER_COLUMNS))
        lines.writerows(
            (row.image_name, row.patient_id or "", row.subset, row.dataset or "", row.content or "") for row in split
        )
