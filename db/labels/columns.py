"""Which column of a labels CSV holds what."""

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
#: 2017's name, and 2020's.
_SEX: Final = ("Patient Gender", "Patient Sex")
_VIEW: Final = "View Position"
_FOLLOW_UP: Final = "Follow-up #"
#: Of a cell in UTF-8, as an S3 key has them; PostgreSQL's indexes take little more.
_MAX_BYTES: Final = 1024
#: Of a header that is quoted in a sentence.
_MAX_SHOWN: Final = 150


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of a hospital's own columns; None is NIH's."""

    image: str | None = None
    labels: str | None = None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of one CSV."""

    #: From 0; a column that is not there lies beyond the end of every row.
    index: int
    name: str

    def read(self, cells: Sequence[str], parse: Callable[[str], T]) -> T:
        """What `parse` makes of a row's cell, stripped; of '' where the row ends before this column.

        Raises:
            InvalidLabels: `parse` did, or the cell is no text that SQL can hold; names the column.
        """
        cell = cells[self.index].strip() if self.index < len(cells) else ""
        try:
            # Nearly every cell is plain: this is most of what reading a million rows costs.
            return parse(cell if cell.isascii() and len(cell) <= _MAX_BYTES else _checked(cell))
        except InvalidLabels as error:
            raise InvalidLabels(f"{self.name!r} {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Which column of one CSV holds what."""

    image: Column
    labels: Column
    patient: Column
    age: Column
    sex: Column
    view: Column
    follow_up: Column


def has_images(header: Sequence[str], columns: Columns) -> bool:
    """Whether a header has the column of image names."""
    return bool(_places(header, columns.image or _IMAGE))


def find_columns(header: Sequence[str], columns: Columns) -> Layout:
    """Find NIH's columns and those named in `columns`, whatever their case, spaces or underscores.

    Raises:
        InvalidLabels: a needed column, or one named in `columns`, is missing or there twice.
    """
    # Who names the column of images has a CSV of his own, and it need not have labels.
    labels = columns.labels or (None if columns.image else _LABELS)
    return Layout(
        image=_needed(header, columns.image or _IMAGE),
        labels=_needed(header, labels) if labels else _optional(header, _LABELS),
        patient=_needed(header, columns.patient) if columns.patient else _optional(header, _PATIENT),
        age=_optional(header, _AGE),
        sex=_optional(header, *_SEX),
        view=_optional(header, _VIEW),
        follow_up=_optional(header, _FOLLOW_UP),
    )


def is_text(cell: str) -> bool:
    """Whether SQL can hold it: bytes that are no UTF-8 are read as lone surrogates."""
    return cell.isascii() or cell == cell.encode(errors="ignore").decode()


def _needed(header: Sequence[str], name: str) -> Column:
    column = _optional(header, name)
    if column.index < len(header):
        return column
    if not all(map(is_text, header)):
        raise InvalidLabels("not a labels file: it is no UTF-8 text")
    shown = ", ".join(repr(cell.strip()) for cell in header if cell.strip())
    cut = f"{shown[:_MAX_SHOWN]} ..." if len(shown) > _MAX_SHOWN else shown
    raise InvalidLabels(f"not a labels file: no column {name!r} among {cut}")


def _optional(header: Sequence[str], *names: str) -> Column:
    for name in names:
        places = _places(header, name)
        if len(places) > 1:
            raise InvalidLabels(f"{len(places)} columns are named {name!r}")
        if places:
            return Column(index=places[0], name=header[places[0]].strip())
    return Column(index=sys.maxsize, name=names[0])


def _places(header: Sequence[str], name: str) -> list[int]:
    """The name letter by letter, or else anything like it: a hospital may have both `ID` and `id`."""
    exact = [place for place, cell in enumerate(header) if cell.strip() == name]
    return exact or [place for place, cell in enumerate(header) if _plain(cell) == _plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().casefold()


def _checked(cell: str) -> str:
    if not is_text(cell):
        raise InvalidLabels("is no UTF-8 text; save the file as UTF-8")
    if len(cell.encode()) > _MAX_BYTES:
        raise InvalidLabels(f"is longer than {_MAX_BYTES:,} bytes")
    return cell
