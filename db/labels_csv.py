"""Reads a labels CSV in the NIH layout into rows, or says in one sentence why it is none."""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from db.errors import UserError
from db.findings import NIH_FINDINGS, NO_FINDING

_IMAGE: Final = ("Image Index", "Image_Index")
_LABELS: Final = ("Finding Labels", "Finding_Labels")
_PATIENT: Final = ("Patient ID", "Patient_ID")
_AGE: Final = ("Patient Age", "Patient_Age")
_SEX: Final = ("Patient Gender", "Patient Sex", "Patient_Gender", "Patient_Sex")
_VIEW: Final = ("View Position", "View_Position")
_FOLLOW_UP: Final = ("Follow-up #", "Follow-up_#")
#: More digits than a SQL integer surely holds.
_SQL_DIGITS: Final = 10
#: NIH writes ages as 060Y, 013M, 001D or a plain number of years.
_YEARS_PER: Final = {"Y": 1.0, "M": 1 / 12, "D": 1 / 365.25}


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One row of a labels CSV: a scan and what the CSV says about it."""

    image_name: str
    #: () is unlabelled; (`No Finding`,) is normal.
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
    #: Of the file's bytes, in hex.
    sha256: str
    #: The CSV's stem: image names are unique within it.
    dataset: str
    rows: tuple[LabelRow, ...]


def read_labels_csv(path: Path) -> LabelsFile:
    """Read and check a whole labels CSV.

    Raises:
        UserError: it cannot be read, is no labels file, or a row is wrong; names the file, row and cause.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
        if "\0" in text:
            row = text.count("\n", 0, text.index("\0")) + 1
            raise UserError(f"{path}: row {row}: not a labels file: it holds a NUL byte")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a labels file: byte {error.start} is no UTF-8 text") from error
    rows = _unique(path, _rows(path, csv.DictReader(io.StringIO(text, newline=""))))
    if not rows:
        raise UserError(f"{path}: not a labels file: it has a header and no rows")
    return LabelsFile(path=path, sha256=hashlib.sha256(content).hexdigest(), dataset=path.stem, rows=rows)


def normal_patient_id(raw: str) -> str | None:
    """`00000013` and `13` are one patient; an id that is not a number stays as it is."""
    raw = raw.strip()
    return (raw.lstrip("0") or "0") if raw.isdigit() else (raw or None)


def age_in_years(raw: str) -> float | None:
    """`060Y` is 60, `013M` is 1.08, `77` is 77; anything else is unknown. Impossible ages (411Y) stay as written."""
    raw = raw.strip().upper()
    number, unit = (raw[:-1], raw[-1]) if raw[-1:] in _YEARS_PER else (raw, "Y")
    return int(number) * _YEARS_PER[unit] if number.isdecimal() and len(number) < _SQL_DIGITS else None


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[int, LabelRow]]:
    try:
        header = [name or "" for name in reader.fieldnames or ()]
        columns = _Columns(path, header)
        for fields in reader:
            yield reader.line_num, columns.row(reader.line_num, fields)
    except csv.Error as error:
        raise UserError(f"{path}: row {reader.line_num}: not a labels file ({error})") from error


def _unique(path: Path, rows: Iterator[tuple[int, LabelRow]]) -> tuple[LabelRow, ...]:
    seen: dict[str, tuple[int, LabelRow]] = {}
    for line, row in rows:
        earlier = seen.setdefault(row.image_name, (line, row))
        if earlier[1] != row:
            raise UserError(f"{path}: row {line}: {row.image_name} is there already in row {earlier[0]}, and differs")
    return tuple(row for _, row in seen.values())


class _Columns:
    """Which column of this CSV holds what."""

    def __init__(self, path: Path, header: list[str]) -> None:
        self._path = path
        self._image = self._require(header, _IMAGE)
        self._labels = self._require(header, _LABELS)
        self._optional: dict[tuple[str, ...], str | None] = {
            names: next((name for name in names if name in header), None)
            for names in (_PATIENT, _AGE, _SEX, _VIEW, _FOLLOW_UP)
        }

    def row(self, line: int, fields: dict[str, str]) -> LabelRow:
        image_name = (fields[self._image] or "").strip()
        if not image_name or "/" in image_name or "\0" in image_name:
            raise UserError(f"{self._path}: row {line}: '{self._image}' is {image_name!r}, not the name of an image")
        follow_up = self._optional_value(fields, _FOLLOW_UP)
        return LabelRow(
            image_name=image_name,
            findings=self._findings(line, fields[self._labels] or ""),
            patient_id=normal_patient_id(self._optional_value(fields, _PATIENT)),
            view=self._optional_value(fields, _VIEW) or None,
            sex=self._optional_value(fields, _SEX) or None,
            age_years=age_in_years(self._optional_value(fields, _AGE)),
            follow_up=int(follow_up) if follow_up.isdecimal() and len(follow_up) < _SQL_DIGITS else None,
        )

    def _findings(self, line: int, raw: str) -> tuple[str, ...]:
        findings = tuple(sorted({part.strip() for part in raw.split("|") if part.strip()}))
        for finding in findings:
            if finding not in NIH_FINDINGS and finding != NO_FINDING:
                raise UserError(
                    f"{self._path}: row {line}: '{self._labels}' has {finding!r}, which is none of NIH's findings"
                )
        if NO_FINDING in findings and len(findings) > 1:
            raise UserError(f"{self._path}: row {line}: '{self._labels}' has '{NO_FINDING}' beside a finding")
        return findings

    def _optional_value(self, fields: dict[str, str], names: tuple[str, ...]) -> str:
        column = self._optional[names]
        return (fields[column] or "").strip() if column else ""

    def _require(self, header: list[str], names: tuple[str, ...]) -> str:
        for name in names:
            if name in header:
                return name
        shown = ", ".join(header[:3])[:80]
        raise UserError(f"{self._path}: not a labels file: no column '{names[0]}' (row 1 begins {shown!r})")
