"""Finds the columns of a labels CSV by their names, in every common spelling."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from db.labels.text import InvalidLabels

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Something that a labels CSV says of a scan, and the names that its column may have.

    Names are compared by their letters and digits alone, so `patient_id` is `Patient ID`. The README lists them all.
    """

    #: What the column holds, as a message says it.
    content: str
    #: NIH's names, preferred in this order: that of the file of 2017, then that of 2020.
    nih: tuple[str, ...]
    #: Names that others use. None of them is preferred to another.
    others: tuple[str, ...] = ()
    #: The flag of `producer` that names the column.
    flag: str | None = None


#: By the attribute of `Layout` and, if a flag names the column, of `Columns`.
FIELDS: Final[Mapping[str, Field]] = {
    "image": Field(
        content="image names",
        nih=("Image Index",),
        others=(
            "Image",
            "Image ID",
            "Image Name",
            "Image File",
            "Image Path",
            "File",
            "File Name",
            "File Path",
            "Path",
        ),
        flag="--image-column",
    ),
    "labels": Field(
        content="findings",
        nih=("Finding Labels",),
        others=("Finding Label", "Findings", "Finding", "Labels", "Label"),
        flag="--label-column",
    ),
    "patient": Field(
        content="patient ids",
        nih=("Patient ID",),
        others=("Patient", "Patient Number", "PID", "Subject ID", "Subject", "MRN"),
        flag="--patient-column",
    ),
    "age": Field(content="ages", nih=("Patient Age",), others=("Age", "Age Years")),
    "sex": Field(content="sexes", nih=("Patient Gender", "Patient Sex"), others=("Gender", "Sex")),
    "view": Field(content="views", nih=("View Position",), others=("View", "Projection", "AP/PA")),
    "follow_up": Field(content="follow-up numbers", nih=("Follow-up #",), others=("Follow-up Number",)),
}
#: Maximum length of a cell in UTF-8, as of an S3 key; PostgreSQL's indexes accept little more.
_MAX_CELL_BYTES: Final = 1024
#: Length to which a message shortens a header.
_MAX_QUOTED_CHARACTERS: Final = 150


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A hospital's own column names; None means that the column is found by its `Field`.

    A label set's hash depends on this class's `repr`, so neither the class nor a field may be renamed.
    """

    image: str | None = None
    labels: str | None = None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a CSV."""

    #: From 0. A missing column has an index beyond the end of every row.
    index: int
    name: str

    def read(self, cells: Sequence[str], parse: Callable[[str], T]) -> T:
        """Parse a row's cell, stripped of white space; '' if the row ends before this column.

        Raises:
            InvalidLabels: `parse` raised it, or SQL cannot hold the cell's text; names the column.
        """
        cell = cells[self.index].strip() if self.index < len(cells) else ""
        try:
            # Nearly every cell is short ASCII. This line takes most of the time of reading a million rows.
            return parse(cell if cell.isascii() and len(cell) <= _MAX_CELL_BYTES else _check_text(cell))
        except InvalidLabels as error:
            raise InvalidLabels(f"{self.name!r} {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The columns of one CSV by their meaning."""

    image: Column
    labels: Column
    patient: Column
    age: Column
    sex: Column
    view: Column
    follow_up: Column


def count_fields(header: Sequence[str], columns: Columns) -> int:
    """How many fields have a column in this header; 0 without a column of image names."""
    found = {name: _best_indices(header, field, getattr(columns, name, None)) for name, field in FIELDS.items()}
    return sum(map(bool, found.values())) if found["image"] else 0


def find_columns(header: Sequence[str], columns: Columns) -> Layout:
    """Find the column of each field: the one that `columns` names, else NIH's, else one by another common name.

    Raises:
        InvalidLabels: a required column, or one named in `columns`, is missing; or two columns fit a field equally.
    """
    # A CSV whose image column had to be named may have no labels.
    required = ("image",) if columns.image else ("image", "labels")
    found: dict[str, Column] = {}
    for name, field in FIELDS.items():
        named: str | None = getattr(columns, name, None)
        found[name] = _find_column(header, field, named, required=bool(named) or name in required)
    return Layout(**found)


def is_utf8(cell: str) -> bool:
    """Whether a text is valid UTF-8, so that SQL can hold it. Other bytes were read as lone surrogates."""
    return cell.isascii() or cell == cell.encode(errors="ignore").decode()


def _find_column(header: Sequence[str], field: Field, named: str | None, *, required: bool) -> Column:
    indices = _best_indices(header, field, named)
    if len(indices) > 1:
        raise _ambiguous([header[index].strip() for index in indices], field)
    if indices:
        return Column(index=indices[0], name=header[indices[0]].strip())
    if required:
        raise _missing(header, field, named)
    return Column(index=sys.maxsize, name=field.nih[0])


def _best_indices(header: Sequence[str], field: Field, named: str | None) -> list[int]:
    for name in (named,) if named else field.nih:
        if found := _matching_indices(header, name):
            return found
    others = () if named else {_normalise(name) for name in field.others}
    return [index for index, cell in enumerate(header) if _normalise(cell) in others]


def _matching_indices(header: Sequence[str], name: str) -> list[int]:
    """The columns with exactly this name, or else with a similar one: a hospital may have both `ID` and `id`."""
    exact = [index for index, cell in enumerate(header) if cell.strip() == name]
    similar = _normalise(name)
    return exact or [index for index, cell in enumerate(header) if similar and _normalise(cell) == similar]


def _normalise(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _ambiguous(names: Sequence[str], field: Field) -> InvalidLabels:
    listed = _shorten(" and ".join(map(repr, names)))
    # A flag cannot tell columns of one name apart.
    choose = f"name one with {field.flag}, or rename" if field.flag and len(set(names)) > 1 else "rename"
    return InvalidLabels(f"columns {listed} may each hold the {field.content}; {choose} all but one")


def _missing(header: Sequence[str], field: Field, named: str | None) -> InvalidLabels:
    if not all(map(is_utf8, header)):
        return InvalidLabels("not a labels file: it is not valid UTF-8")
    present = _shorten(", ".join(repr(cell.strip()) for cell in header if cell.strip()))
    if named:
        return InvalidLabels(f"not a labels file: no column {named!r} among {present}")
    wanted = f"no column of {field.content}, such as {field.nih[0]!r}, among {present}"
    return InvalidLabels(f"not a labels file: {wanted}; name it with {field.flag}, or rename it")


def _shorten(names: str) -> str:
    return f"{names[:_MAX_QUOTED_CHARACTERS]} ..." if len(names) > _MAX_QUOTED_CHARACTERS else names


def _check_text(cell: str) -> str:
    if not is_utf8(cell):
        raise InvalidLabels("is not valid UTF-8; save the file as UTF-8")
    if len(cell.encode()) > _MAX_CELL_BYTES:
        raise InvalidLabels(f"is longer than {_MAX_CELL_BYTES:,} bytes")
    return cell
