"""Parses the cells of a labels CSV: image names, findings, patient ids, ages."""

import re
import sys
from functools import lru_cache
from typing import Final

from db.findings import NIH_FINDINGS, NO_FINDING
from db.labels.text import InvalidLabels

#: Numbers of up to nine digits fit a SQL INTEGER of 32 bits.
_MAX_DIGITS: Final = 9
#: NIH writes ages as 060Y, 013M, 001D or a plain number of years. A Julian year has 365.25 days.
_YEARS_PER: Final = {"Y": 1.0, "M": 1 / 12, "D": 1 / 365.25}
#: `/data/a.png`, `C:/a.png`, `//server/a.png`, `s3://bucket/a.png`.
_ABSOLUTE: Final = re.compile(r"/|\w+:/")
#: pandas writes the whole numbers of a column that has gaps like this.
_WHOLE_FLOAT: Final = re.compile(r"(\d+)\.0+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
#: Distinct cells to remember. NIH's 112,120 rows have 836 distinct combinations of findings.
_CACHE_SIZE: Final = 4096


def _normalise(finding: str) -> str:
    return re.sub(r"[\s_-]+", " ", finding).strip().casefold()


_FINDINGS: Final = {
    **{_normalise(finding): finding for finding in (*NIH_FINDINGS, NO_FINDING)},
    "no findings": NO_FINDING,
    "normal": NO_FINDING,
}
#: Length to which a message shortens a cell.
_MAX_QUOTED_CHARACTERS: Final = 60


def parse_image_name(cell: str) -> str:
    """Parse an image name: a path relative to the images' folder, with its parts joined by '/' on every system.

    Raises:
        InvalidLabels: the cell does not name a file, or names one outside the folder.
    """
    parts = [part for part in cell.replace("\\", "/").split("/") if part != "."]
    name = "/".join(parts)
    if _ABSOLUTE.match(name):
        raise InvalidLabels(f"is {quoted(cell)}, an absolute path; name images relative to their folder")
    if not parts[-1:] or not parts[-1] or ".." in parts or _CONTROL.search(name):
        raise InvalidLabels(f"is {quoted(cell)}, not the name of an image")
    return name


@lru_cache(_CACHE_SIZE)
def parse_findings(cell: str) -> tuple[str, ...]:
    """Parse findings separated by `|` or `;`, in any case and with spaces, `_` or `-`.

    Returns:
        NIH's names, sorted; () for an empty cell.

    Raises:
        InvalidLabels: a finding is unknown, or `No Finding` stands beside another finding.
    """
    found = {_finding(part) for part in re.split(r"[|;]", cell) if part.strip()}
    if NO_FINDING in found and len(found) > 1:
        raise InvalidLabels(f"has {NO_FINDING!r} beside another finding; remove one of them")
    return tuple(sorted(found))


def normalise_patient_id(cell: str) -> str | None:
    """Normalise a patient id: `00000013`, `13` and `13.0` are one patient. Other texts stay as they are.

    Returns:
        The id, or None for an empty cell and for `nan`.
    """
    cell = _strip_decimals(cell.strip())
    if cell.lower() == "nan":
        return None
    return text_or_none((cell.lstrip("0") or "0") if cell.isdigit() else cell)


@lru_cache(_CACHE_SIZE)
def parse_age(cell: str) -> float | None:
    """Parse an age into years: `060Y` is 60, `013M` is 1.08, `77` is 77. Impossible ages (`411Y`) stay as written.

    Returns:
        Years, or None for any other notation.
    """
    cell = cell.strip().upper()
    number, unit = (cell[:-1], cell[-1]) if cell[-1:] in _YEARS_PER else (_strip_decimals(cell), "Y")
    return int(number) * _YEARS_PER[unit] if _fits_sql(number) else None


def whole_number(cell: str) -> int | None:
    """A whole number, or None if the cell holds none or one that is too large for SQL."""
    cell = _strip_decimals(cell)
    return int(cell) if _fits_sql(cell) else None


def text_or_none(cell: str) -> str | None:
    """The cell, or None if it is empty."""
    # Interned: a million rows repeat the same few words.
    return sys.intern(cell) if cell else None


def quoted(text: str) -> str:
    """A file's own text as a message quotes it: on one line, and shortened."""
    return repr(text if len(text) <= _MAX_QUOTED_CHARACTERS else f"{text[:_MAX_QUOTED_CHARACTERS]}...")


def _finding(part: str) -> str:
    finding = _FINDINGS.get(_normalise(part))
    if finding is None:
        raise InvalidLabels(f"has {quoted(part.strip())}, which is not one of NIH's findings")
    return finding


def _strip_decimals(cell: str) -> str:
    found = _WHOLE_FLOAT.fullmatch(cell)
    return found[1] if found else cell


def _fits_sql(digits: str) -> bool:
    return digits.isdecimal() and len(digits) <= _MAX_DIGITS
