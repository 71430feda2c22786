"""Reads a labels CSV of any dialect into rows, or says in one sentence why it cannot.

    text      bytes -> lines        gzip, UTF-8 or UTF-16, any line end; hashes the bytes on the way
    table     lines -> rows         comma, semicolon or tab; quotes; blank lines
    columns   header -> layout      NIH's names, other common ones, or a hospital's own
    cells     cell -> value         findings, ages, patient ids, image names

Those modules raise `InvalidLabels`; this one adds the file's name and raises the `UserError` that a person reads.
"""

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from db.errors import UserError
from db.findings import NIH_FINDINGS
from db.labels.cells import (
    normalise_patient_id,
    parse_age,
    parse_findings,
    parse_image_name,
    parse_patient_id,
    quoted,
    text_or_none,
    whole_number,
)
from db.labels.columns import Columns, Layout, count_fields, find_columns, is_utf8
from db.labels.table import read_table
from db.labels.text import HashedFile, InvalidLabels, read_lines

__all__ = ["Columns", "LabelRow", "LabelsFile", "normalise_patient_id", "parse_age", "read_labels_csv"]

_NIH_COLUMNS: Final = Columns()


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRow:
    """One row of a labels CSV: a scan, its labels and its patient."""

    #: The image's path relative to the images' folder, with its parts joined by '/'.
    image_name: str
    #: The positive ones, sorted; (`No Finding`,) means normal.
    findings: tuple[str, ...]
    patient_id: str | None
    view: str | None
    sex: str | None
    age_years: float | None
    follow_up: int | None
    #: Findings that may be there or not. They are neither positive nor negative.
    uncertain: tuple[str, ...] = ()
    #: Findings that the row says are absent, and are not in `LabelsFile.covered`; `No Finding` if the row is labelled
    #: but names nothing. A row that has no finding in any of the three is unlabelled.
    negative: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LabelsFile:
    """A labels CSV as it was read."""

    path: Path
    #: Hash of the file's bytes as they are stored, gzipped or not, and of a hospital's own column names, if any: other
    #: columns give other labels.
    sha256: str
    #: The CSV's stem. Image names are unique within a dataset.
    dataset: str
    #: The first row of each image, in the file's order.
    rows: tuple[LabelRow, ...]
    #: Findings that are absent wherever a labelled row does not name them, in the order of `SPECIFIC_FINDINGS`. What
    #: the file says nothing of is unknown: NIH's labels do not tell whether a rib is broken.
    covered: tuple[str, ...] = NIH_FINDINGS
    #: How the file was read where that decides a label: its layout, and what -1 and blanks mean. For people.
    reading: Mapping[str, str] = field(default_factory=dict)


def read_labels_csv(path: Path, columns: Columns = _NIH_COLUMNS) -> LabelsFile:
    """Read and check a whole labels CSV.

    Raises:
        UserError: the file cannot be read or is not a labels file, or a row is wrong; names the file, row, column and
            cause. A row's number is that of the line on which it begins.
    """
    if not is_utf8(str(path)):
        raise UserError(f"{str(path)!r}: cannot be read (its name is not valid UTF-8; rename it)")
    try:
        with path.open("rb", buffering=0) as file:
            hashed = HashedFile(file)
            rows = _unique_rows(_rows(read_lines(hashed), columns))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except InvalidLabels as error:
        raise UserError(f"{path}: {error}") from error
    return LabelsFile(path=path, sha256=_identity(hashed.sha256, columns), dataset=_dataset(path), rows=rows)


def _rows(lines: Iterator[str], columns: Columns) -> Iterator[tuple[int, LabelRow]]:
    layout: Layout | None = None
    for line, cells in read_table(lines, partial(count_fields, columns=columns)):
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
        image_name=layout.image.read(cells, parse_image_name),
        findings=layout.labels.read(cells, parse_findings),
        patient_id=layout.patient.read(cells, parse_patient_id),
        view=layout.view.read(cells, text_or_none),
        sex=layout.sex.read(cells, text_or_none),
        age_years=layout.age.read(cells, parse_age),
        follow_up=layout.follow_up.read(cells, whole_number),
    )


def _unique_rows(rows: Iterator[tuple[int, LabelRow]]) -> tuple[LabelRow, ...]:
    by_name: dict[str, LabelRow] = {}
    lines = array("Q")
    for line, row in rows:
        first = by_name.setdefault(row.image_name, row)
        if first is row:
            lines.append(line)
        elif first != row:
            earlier = lines[list(by_name).index(row.image_name)]
            raise InvalidLabels(f"row {line}: {quoted(row.image_name)} differs from its earlier row {earlier}")
    if not by_name:
        raise InvalidLabels("not a labels file: it has a header but no rows")
    return tuple(by_name.values())


def _identity(sha256: str, columns: Columns) -> str:
    return sha256 if columns == _NIH_COLUMNS else hashlib.sha256(f"{sha256} {columns}".encode()).hexdigest()


def _dataset(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
