"""Reads a labels CSV of any dialect and layout into rows, or says in one sentence why it cannot.

    text        bytes -> lines        gzip, UTF-8 or UTF-16, any line end; hashes the bytes on the way
    table       lines -> rows         comma, semicolon or tab; quotes; blank lines
    columns     header -> layout      NIH's names, other common ones, or a hospital's own
    cells       cell -> value         ages, patient ids, image names
    row_labels  cells -> labels       a list in a cell, or 1, 0, -1 and blank in one column a finding
    words       word -> finding       the vocabulary, other names of the same, or a hospital's own

Those modules raise `InvalidLabels`; this one adds the file's name and raises the `UserError` that a person reads.
"""

import hashlib
import json
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from db.errors import UserError
from db.labels.cells import (
    normalise_patient_id,
    parse_age,
    parse_image_name,
    parse_patient_id,
    quoted,
    text_or_none,
    whole_number,
)
from db.labels.columns import Layout, count_fields, find_columns, is_utf8
from db.labels.label_row import LabelRow, LabelsFile
from db.labels.reading import DEFAULT_READING, Columns, Reading
from db.labels.row_labels import ColumnsParser, ListParser, RowLabels, list_covered
from db.labels.table import read_table
from db.labels.text import HashedFile, InvalidLabels, read_lines
from db.labels.words import FindingWords

__all__ = ["Columns", "LabelRow", "LabelsFile", "Reading", "normalise_patient_id", "parse_age", "read_labels_csv"]


def read_labels_csv(path: Path, reading: Reading = DEFAULT_READING) -> LabelsFile:
    """Read and check a whole labels CSV.

    Raises:
        UserError: the file cannot be read or is not a labels file, or a row is wrong; names the file, row, column and
            cause. A row's number is that of the line on which it begins.
    """
    if not is_utf8(str(path)):
        raise UserError(f"{str(path)!r}: cannot be read (its name is not valid UTF-8; rename it)")
    reader = _Reader(reading)
    try:
        with path.open("rb", buffering=0) as file:
            hashed = HashedFile(file)
            rows = reader.read(read_lines(hashed))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except InvalidLabels as error:
        raise UserError(f"{path}: {error}") from error
    return LabelsFile(
        path=path,
        sha256=_identity(hashed.sha256, reading, reader.described()),
        dataset=_dataset(path),
        rows=rows,
        covered=reader.covered(),
        reading=reader.described(),
        ignored=dict(reader.ignored),
        columns=reader.layout.found,
        unread=reader.layout.unread,
        line_count=reader.line_count,
    )


class _Reader:
    """Reads the lines of one file."""

    #: Set by the header.
    layout: Layout
    _columns: ColumnsParser | None = None

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._words = FindingWords(reading.mapped, ignore_unknown=reading.ignore_unknown)
        self._list = ListParser(self._words)
        self.ignored = Counter[str]()
        self.line_count = 0

    def read(self, lines: Iterator[str]) -> tuple[LabelRow, ...]:
        """The scans of the file.

        Raises:
            InvalidLabels: see `read_labels_csv`.
        """
        by_name: dict[str, LabelRow] = {}
        numbers = array("Q")
        for number, row in self._rows(lines):
            first = by_name.setdefault(row.image_name, row)
            if first is row:
                numbers.append(number)
            elif first != row:
                joined = first.joined(row) if self.layout.name == "rows" else None
                if joined is None:
                    raise self._differs(number, row, numbers[list(by_name).index(row.image_name)])
                by_name[row.image_name] = joined
        if not by_name:
            raise InvalidLabels("not a labels file: it has a header but no rows")
        return tuple(by_name.values())

    def covered(self) -> tuple[str, ...]:
        """See `LabelsFile`."""
        if self._columns:
            return self._columns.covered
        return list_covered(self._list, as_nih=self.layout.name != "rows" and not self._list.has_brackets)

    def described(self) -> Mapping[str, str]:
        """How the file was read; see `LabelsFile.reading`."""
        bracketed = self.layout.name == "list" and self._list.has_brackets
        told: dict[str, str] = {"layout": "bracketed list" if bracketed else self.layout.name}
        if self._columns:
            told |= {"uncertain": self._reading.uncertain, "blank": self._reading.blank}
        if self._words.used:
            told["map"] = "|".join(f"{term}={finding}" for term, finding in sorted(self._words.used.items()))
        if self.ignored:
            told["ignored"] = "|".join(sorted(self.ignored))
        return told

    def _rows(self, lines: Iterator[str]) -> Iterator[tuple[int, LabelRow]]:
        has_header = False
        for number, cells in read_table(lines, partial(count_fields, columns=self._reading.columns)):
            try:
                if has_header:
                    yield number, self._row(cells)
                else:
                    self._read_header(cells)
                    has_header = True
            except InvalidLabels as error:
                raise InvalidLabels(f"row {number}: {error}") from error
        if not has_header:
            raise InvalidLabels("not a labels file: it is empty")

    def _read_header(self, cells: Sequence[str]) -> None:
        self.layout = find_columns(cells, self._reading, self._words)
        if self.layout.name == "columns":
            self._columns = ColumnsParser(self.layout.findings, self._reading)

    def _row(self, cells: Sequence[str]) -> LabelRow:
        layout, labels = self.layout, self._labels(cells)
        self.line_count += 1
        if labels.ignored:
            self.ignored.update(labels.ignored)
        image_name = layout.image.read(cells, parse_image_name)
        return LabelRow(
            image_name=image_name,
            findings=labels.findings,
            patient_id=self._patient(cells, image_name),
            view=layout.view.read(cells, text_or_none) or layout.plane.read(cells, text_or_none),
            sex=layout.sex.read(cells, text_or_none),
            age_years=layout.age.read(cells, parse_age),
            follow_up=layout.follow_up.read(cells, whole_number),
            uncertain=labels.uncertain,
            negative=labels.negative,
        )

    def _labels(self, cells: Sequence[str]) -> RowLabels:
        return self._columns.read(cells) if self._columns else self.layout.labels.read(cells, self._list.parse)

    def _patient(self, cells: Sequence[str], image_name: str) -> str | None:
        pattern = self._reading.patient_pattern
        if pattern is None:
            return self.layout.patient.read(cells, parse_patient_id)
        found = re.search(pattern, image_name)
        if found is None or not found[1]:
            # Without the name: it may tell who the patient is, and the nightly producer logs this.
            raise InvalidLabels(f"--patient-pattern {quoted(pattern)} finds no patient in its image name")
        return normalise_patient_id(found[1])

    def _differs(self, number: int, row: LabelRow, earlier: int) -> InvalidLabels:
        remedy = "; if each row names one finding or box, add --layout rows" if self.layout.name == "list" else ""
        return InvalidLabels(f"row {number}: {quoted(row.image_name)} differs from its earlier row {earlier}{remedy}")


def _identity(sha256: str, reading: Reading, described: Mapping[str, str]) -> str:
    """The hash of the bytes, and of what made the file be read otherwise than NIH's.

    A file that version 0.1 read has the hash that it had then, so that ledgers know it again.
    """
    otherwise = dict(described)
    if otherwise["layout"] in {"list", "unlabelled"}:
        del otherwise["layout"]
    if reading.patient_pattern:
        otherwise["patient_pattern"] = reading.patient_pattern
    if otherwise:
        text = f"{sha256} {reading.columns} {json.dumps(otherwise, sort_keys=True)}"
    elif reading.columns != Columns():
        text = f"{sha256} {reading.columns}"
    else:
        return sha256
    return hashlib.sha256(text.encode()).hexdigest()


def _dataset(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
