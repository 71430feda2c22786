"""Finds the columns of a labels CSV by their names."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from db.labels.text import InvalidLabels

T = TypeVar("T")

_IMAGE: Final = "Image Index"
_LABELS: Final = "Finding Labels"
_PATIENT: Final = "Patient ID"
_AGE: Final = "Patient Age"
#: The name in NIH's file of 2017, and in that of 2020.
_SEX: Final = ("Patient Gender", "Patient Sex")
_VIEW: Final = "View Position"
_FOLLOW_UP: Final = "Follow-up #"
#: Maximum length of a cell in UTF-8, as of an S3 key; PostgreSQL's indexes accept little more.
_MAX_CELL_BYTES: Final = 1024
#: Length to which a message shortens a header.
_MAX_QUOTED_CHARACTERS: Final = 150


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A hospital's own column names; None means NIH's name.

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


def has_images(header: Sequence[str], columns: Columns) -> bool:
    """Whether a header has a column of image names."""
    return bool(_matching_indices(header, columns.image or _IMAGE))


def find_columns(header: Sequence[str], columns: Columns) -> Layout:
    """Find NIH's columns and those named in `columns`, whatever their case, spaces or underscores.

    Raises:
        InvalidLabels: a required column, or one named in `columns`, is missing or occurs twice.
    """
    # A CSV with its own name for the image column is not NIH's, and may have no labels.
    labels = columns.labels or (None if columns.image else _LABELS)
    return Layout(
        image=_require_column(header, columns.image or _IMAGE),
        labels=_require_column(header, labels) if labels else _find_column(header, _LABELS),
        patient=_require_column(header, columns.patient) if columns.patient else _find_column(header, _PATIENT),
        age=_find_column(header, _AGE),
        sex=_find_column(header, *_SEX),
        view=_find_column(header, _VIEW),
        follow_up=_find_column(header, _FOLLOW_UP),
    )


def is_utf8(cell: str) -> bool:
    """Whether a text is valid UTF-8, so that SQL can hold it. Other bytes were read as lone surrogates."""
    return cell.isascii() or cell == cell.encode(errors="ignore").decode()


def _require_column(header: Sequence[str], name: str) -> Column:
    column = _find_column(header, name)
    if column.index < len(header):
        return column
    if not all(map(is_utf8, header)):
        raise InvalidLabels("not a labels file: it is not valid UTF-8")
    names = ", ".join(repr(cell.strip()) for cell in header if cell.strip())
    quoted = f"{names[:_MAX_QUOTED_CHARACTERS]} ..." if len(names) > _MAX_QUOTED_CHARACTERS else names
    raise InvalidLabels(f"not a labels file: no column {name!r} among {quoted}")


def _find_column(header: Sequence[str], *names: str) -> Column:
    for name in names:
        indices = _matching_indices(header, name)
        if len(indices) > 1:
            raise InvalidLabels(f"{len(indices)} columns are named {name!r}; rename all but one")
        if indices:
            return Column(index=indices[0], name=header[indices[0]].strip())
    return Column(index=sys.maxsize, name=names[0])


def _matching_indices(header: Sequence[str], name: str) -> list[int]:
    """The columns with exactly this name, or else with a similar one: a hospital may have both `ID` and `id`."""
    exact = [index for index, cell in enumerate(header) if cell.strip() == name]
    return exact or [index for index, cell in enumerate(header) if _normalise(cell) == _normalise(name)]


def _normalise(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().casefold()


def _check_text(cell: str) -> str:
    if not is_utf8(cell):
        raise InvalidLabels("is not valid UTF-8; save the file as UTF-8")
    if len(cell.encode()) > _MAX_CELL_BYTES:
        raise InvalidLabels(f"is longer than {_MAX_CELL_BYTES:,} bytes")
    return cell
