"""Reads a labels CSV into rows, in any dialect, or says in one sentence why it is none.

    labels_text      bytes -> lines        gzip, UTF-8 or UTF-16, any line end; hashed on the way
    labels_table     lines -> rows         comma, semicolon or tab; quotes; blank lines
    labels_columns   header -> layout      NIH's names, or a hospital's own
    labels_cells     cell -> value         findings, ages, patient ids, image names

Beneath this one they raise `InvalidLabels`; only here is the file's name known, and what a person reads.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from db.errors import UserError
from db.labels.cells import age_in_years, count, findings, image_name, known, normal_patient_id, shown
from db.labels.columns import Columns, Layout, find_columns, has_images, is_text
from db.labels.table import read_table
from db.labels.text import HashedFile, InvalidLabels, read_lines

__all__ = ["Columns", "LabelRow", "LabelsFile", "age_in_years", "normal_patient_id", "read_labels_csv"]

_NIH: Final = Columns()


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRow:
    """One row of a labels CSV: a scan and what the CSV says about it."""

    #: Of a file, or its path relative to the images' folder, parts joined by '/'.
    image_name: str
    #: Sorted. () is unlabelled; (`No Finding`,) is normal.
    findings: tuple[str, ...]
    patient_id: str | None
    view: str | None
    sex: str | None
    age_years: float | None
    follow_up: int | None


@dataclass(frozen=True, kw_only=True)
class LabelsFile:
    """A labels CSV as it was read."""

    path: Path
    #: Of the file's bytes as they are stored, gzipped or not, and of a hospital's columns: other columns, other labels.
    sha256: str
    #: The CSV's stem: image names are unique within it.
    dataset: str
    #: Of each image its first row, in the file's order.
    rows: tuple[LabelRow, ...]


def read_labels_csv(path: Path, columns: Columns = _NIH) -> LabelsFile:
    """Read and check a whole labels CSV.

    Raises:
        UserError: it cannot be read, is no labels file, or a row is wrong; names the file, row, column and cause.
            A row's number is that of the line it begins on.
    """
    if not is_text(str(path)):
        raise UserError(f"{str(path)!r}: cannot be read (its name is no UTF-8)")
    try:
        with path.open("rb", buffering=0) as file:
            hashed = HashedFile(file)
            rows = _unique(_rows(read_lines(hashed), columns))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except InvalidLabels as error:
        raise UserError(f"{path}: {error}") from error
    return LabelsFile(path=path, sha256=_identity(hashed.sha256, columns), dataset=_dataset(path), rows=rows)


def _rows(lines: Iterator[str], columns: Columns) -> Iterator[tuple[int, LabelRow]]:
    layout: Layout | None = None
    for line, cells in read_table(lines, partial(has_images, columns=columns)):
        try:
            if layout is None:
                layout = find_columns(cells, columns)
            else:
                yield line, _row(layout, cells)
        except InvalidLabels as error:
            raise InvalidLabels(f"row {line}: {error}") from error
    if layout is None:
        raise InvalidLabels("not a labels file: it is empty")


def _row(layout: Layout, cells: Sequence[str]) -> LabelRow:
    return LabelRow(
        image_name=layout.image.read(cells, image_name),
        findings=layout.labels.read(cells, findings),
        patient_id=layout.patient.read(cells, normal_patient_id),
        view=layout.view.read(cells, known),
        sex=layout.sex.read(cells, known),
        age_years=layout.age.read(cells, age_in_years),
        follow_up=layout.follow_up.read(cells, count),
    )


def _unique(rows: Iterator[tuple[int, LabelRow]]) -> tuple[LabelRow, ...]:
    seen: dict[str, LabelRow] = {}
    lines = array("Q")
    for line, row in rows:
        first = seen.setdefault(row.image_name, row)
        if first is row:
            lines.append(line)
        elif first != row:
            earlier = lines[list(seen).index(row.image_name)]
            raise InvalidLabels(f"row {line}: {shown(row.image_name)} is there already in row {earlier}, and differs")
    if not seen:
        raise InvalidLabels("not a labels file: it has a header and no rows")
    return tuple(seen.values())


def _identity(sha256: str, columns: Columns) -> str:
    return sha256 if columns == _NIH else hashlib.sha256(f"{sha256} {columns}".encode()).hexdigest()


def _dataset(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
