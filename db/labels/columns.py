"""Finds the columns of a labels CSV by their names, in every common spelling."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from db.labels.reading import Columns, LayoutName, Reading
from db.labels.text import InvalidLabels
from db.labels.words import NOTHING, FindingWords

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Something that a labels CSV says of a scan, and the names that its column may have.

    Names are compared by their letters and digits alone, so `patient_id` is `Patient ID`. docs/labels.md lists all.
    """

    #: What the column holds, as a message says it.
    content: str
    #: NIH's names, preferred in this order: that of the file of 2017, then that of 2020.
    nih: tuple[str, ...]
    #: Names that others use. None of them is preferred to another.
    others: tuple[str, ...] = ()
    #: Names that count only if no column has one of those above.
    last: tuple[str, ...] = ()
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
        last=("DICOM ID",),
        flag="--image-column",
    ),
    "labels": Field(
        content="findings",
        nih=("Finding Labels",),
        others=("Finding Label", "Findings", "Finding", "Labels", "Label"),
        last=("Class Name", "Class"),
        flag="--label-column",
    ),
    "patient": Field(
        content="patient ids",
        nih=("Patient ID",),
        others=("Patient", "Patient Number", "PID", "Subject ID", "Subject", "MRN"),
        flag="--patient-column",
    ),
    "age": Field(content="ages", nih=("Patient Age",), others=("Age", "Age Years")),
    "sex": Field(
        content="sexes", nih=("Patient Gender", "Patient Sex"), others=("Gender", "Sex"), last=("Patient Sex DICOM",)
    ),
    "view": Field(content="views", nih=("View Position",), others=("View", "Projection", "AP/PA")),
    "plane": Field(content="frontal or lateral", nih=(), others=("Frontal/Lateral",)),
    "follow_up": Field(content="follow-up numbers", nih=("Follow-up #",), others=("Follow-up Number",)),
}
_NO_INDEX: Final = sys.maxsize
#: RSNA's challenge (Shih et al. 2019) names each film by a patient of its own, `Target` being 1 if the class is
#: `Lung Opacity`.
_RSNA_IMAGE: Final = "patientId"
_RSNA_TARGET: Final = "Target"
_RSNA_FINDING: Final = "Lung Opacity"
#: Maximum length of a cell in UTF-8, as of an S3 key; PostgreSQL's indexes accept little more.
_MAX_CELL_BYTES: Final = 1024
#: Length to which a message shortens a header.
_MAX_QUOTED_CHARACTERS: Final = 150


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a CSV."""

    #: From 0. A missing column has an index beyond the end of every row.
    index: int
    name: str

    @property
    def is_present(self) -> bool:
        """Whether the file has the column."""
        return self.index != _NO_INDEX

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
class FindingColumn:
    """A column that says of one finding whether it is there."""

    index: int
    name: str
    #: None if the name is unknown and to be ignored.
    finding: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The columns of one CSV by their meaning."""

    #: `unlabelled` if the file has no labels.
    name: Literal[LayoutName, "unlabelled"]
    image: Column
    labels: Column
    patient: Column
    age: Column
    sex: Column
    view: Column
    plane: Column
    follow_up: Column
    #: Of the layout `columns`.
    findings: tuple[FindingColumn, ...]
    #: The names of the columns that are not read.
    unread: tuple[str, ...]

    @property
    def found(self) -> dict[str, str]:
        """What each column that is read holds, by its name in the file."""
        fields: dict[str, Column] = {name: getattr(self, name) for name in FIELDS}
        read: dict[str, list[str]] = {}
        for name, column in fields.items():
            if column.is_present:
                # RSNA's films are named by their patients.
                read.setdefault(column.name, []).append(FIELDS[name].content)
        findings = {column.name: column.finding for column in self.findings if column.finding}
        return {name: ", ".join(contents) for name, contents in read.items()} | findings


def count_fields(header: Sequence[str], columns: Columns) -> int:
    """How many fields have a column in this header; 0 without a column of image names."""
    found = {name: _best_indices(header, field, getattr(columns, name, None)) for name, field in FIELDS.items()}
    return sum(map(bool, found.values())) if found["image"] or _is_rsna(header) else 0


def find_columns(header: Sequence[str], reading: Reading, words: FindingWords) -> Layout:
    """Find the column of each field: the one that `reading` names, else NIH's, else one by another common name.

    Raises:
        InvalidLabels: a required column, or one named in `reading`, is missing; two columns fit a field equally; or a
            column is likely named after a finding, and misspelt.
    """
    image = _find_image(header, reading.columns.image)
    name, labels, findings = _find_labels(header, reading, words)
    found = {"image": image, "labels": labels or _absent(FIELDS["labels"])}
    for field_name, field in FIELDS.items():
        if field_name not in found:
            found[field_name] = _find_column(header, field, getattr(reading.columns, field_name, None)) or _absent(
                field
            )
    indices = {*(column.index for column in found.values()), *(column.index for column in findings)}
    unread = tuple(cell.strip() for index, cell in enumerate(header) if cell.strip() and index not in indices)
    return Layout(name=name, findings=findings, unread=unread, **found)


def _find_labels(
    header: Sequence[str], reading: Reading, words: FindingWords
) -> tuple[Literal[LayoutName, "unlabelled"], Column | None, tuple[FindingColumn, ...]]:
    """The layout with its column of labels, if it has one, or its columns of findings."""
    field, wanted = FIELDS["labels"], reading.layout
    if wanted != "columns":
        # The names of the last rank were not read by earlier versions, and stand for a class a row.
        of_rows = () if wanted == "list" else field.last
        column = _find_column(header, replace(field, last=of_rows), reading.columns.labels)
        if column:
            is_row = not reading.columns.labels and _normalise(column.name) in map(_normalise, field.last)
            return ("rows" if is_row else "list") if wanted == "auto" else wanted, column, ()
    if wanted in {"auto", "columns"} and (findings := _finding_columns(header, reading, words)):
        return "columns", None, findings
    # A CSV whose image column had to be named may have no labels.
    if wanted in {"auto", "list"} and reading.columns.image:
        return "unlabelled", None, ()
    raise _missing(header, field, reading.columns.labels)


def _finding_columns(header: Sequence[str], reading: Reading, words: FindingWords) -> tuple[FindingColumn, ...]:
    others = {name: field for name, field in FIELDS.items() if name != "labels"}
    taken = {
        index
        for name, field in others.items()
        for index in _best_indices(header, field, getattr(reading.columns, name, None))
    }
    of_rsna = {_RSNA_TARGET: _RSNA_FINDING} if _is_rsna(header) else {}
    names = {index: cell.strip() for index, cell in enumerate(header) if index not in taken}
    if not any(name in of_rsna or words.is_known(name) for name in names.values()):
        return ()
    found = {index: of_rsna.get(name) or words.finding_of_column(name) for index, name in names.items()}
    return tuple(
        FindingColumn(index=index, name=names[index], finding=finding)
        for index, finding in found.items()
        if finding != NOTHING
    )


def _find_image(header: Sequence[str], named: str | None) -> Column:
    column = _find_column(header, FIELDS["image"], named)
    if column is None and _is_rsna(header):
        column = _find_column(header, FIELDS["patient"], _RSNA_IMAGE)
    if column is None:
        raise _missing(header, FIELDS["image"], named)
    return column


def _is_rsna(header: Sequence[str]) -> bool:
    """Whether these are RSNA's boxes (`patientId,x,y,width,height,Target`) or classes (`patientId,class`)."""
    names = {cell.strip() for cell in header}
    return _RSNA_IMAGE in names and not names.isdisjoint({_RSNA_TARGET, "class"})


def is_utf8(cell: str) -> bool:
    """Whether a text is valid UTF-8, so that SQL can hold it. Other bytes were read as lone surrogates."""
    return cell.isascii() or cell == cell.encode(errors="ignore").decode()


def _find_column(header: Sequence[str], field: Field, named: str | None) -> Column | None:
    indices = _best_indices(header, field, named)
    if len(indices) > 1:
        raise _ambiguous([header[index].strip() for index in indices], field)
    if indices:
        return Column(index=indices[0], name=header[indices[0]].strip())
    if named:
        raise _missing(header, field, named)
    return None


def _absent(field: Field) -> Column:
    return Column(index=_NO_INDEX, name=field.content)


def _best_indices(header: Sequence[str], field: Field, named: str | None) -> list[int]:
    for name in (named,) if named else field.nih:
        if found := _matching_indices(header, name):
            return found
    for names in () if named else (field.others, field.last):
        similar = {_normalise(name) for name in names}
        if found := [index for index, cell in enumerate(header) if _normalise(cell) in similar]:
            return found
    return []


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
    remedy = f"name it with {field.flag}, or rename it"
    if field is FIELDS["labels"]:
        remedy = f"name it with {field.flag}, or columns of one finding each with --map 'NAME=FINDING'"
    return InvalidLabels(f"not a labels file: {wanted}; {remedy}")


def _shorten(names: str) -> str:
    return f"{names[:_MAX_QUOTED_CHARACTERS]} ..." if len(names) > _MAX_QUOTED_CHARACTERS else names


def _check_text(cell: str) -> str:
    if not is_utf8(cell):
        raise InvalidLabels("is not valid UTF-8; save the file as UTF-8")
    if len(cell.encode()) > _MAX_CELL_BYTES:
        raise InvalidLabels(f"is longer than {_MAX_CELL_BYTES:,} bytes")
    return cell
