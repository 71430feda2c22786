"""Parses the cells of a labels CSV: image names, patient ids, ages."""

import re
import sys
from functools import lru_cache
from typing import Final

from db.labels.text import InvalidLabels

#: Numbers of up to nine digits fit a SQL INTEGER of 32 bits.
_MAX_DIGITS: Final = 9
#: NIH and DICOM write ages as 060Y, 013M, 007W, 001D or a plain number of years. A Julian year has 365.25 days.
_YEARS_PER: Final = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
#: `/data/a.png`, `C:/a.png`, `//server/a.png`, `s3://bucket/a.png`.
_ABSOLUTE: Final = re.compile(r"/|\w+:/")
#: pandas writes the whole numbers of a column that has gaps like this.
_WHOLE_FLOAT: Final = re.compile(r"(\d+)\.0+")
#: How Excel writes a number of twelve digits or more: `201911000123` as `2.01911E+11`, in some countries with a decimal
#: comma. pandas writes a small e. A hospital's own id such as `1E5` or `12E3` has no sign, so it is not meant.
_SCIENTIFIC: Final = re.compile(r"\d([.,]\d+)?E\+\d{2,3}", re.IGNORECASE)
#: Thousands separators: `1,234` would be another patient than `1234`, and `13.000` may be patient 13 or 13000.
_THOUSANDS: Final = re.compile(r"\d{1,3}(,\d{3})+|[1-9]\d{0,2}(\.000)+")
#: What a spreadsheet shows for a formula that failed (`#N/A`, in German `#NV`), and for a column that is too narrow.
_FAILED_FORMULA: Final = re.compile(r"#N/A|#NV|#[A-Z0/]+[!?]|##+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
#: Distinct cells to remember.
_CACHE_SIZE: Final = 4096

#: Numbers with more than 15 digits end in zeros once Excel has read them, and nothing tells those from real ones.
_AS_TEXT: Final = "in Excel, format the column as text before the ids come in, and save the file again"
_SHORTENED: Final = f"is in scientific notation (like 1.2E+11), so digits of it are lost; {_AS_TEXT}"
#: Length to which a message shortens a cell.
_MAX_QUOTED_CHARACTERS: Final = 60


def parse_image_name(cell: str) -> str:
    """Parse an image name: a path relative to the images' folder, with its parts joined by '/' on every system.

    Raises:
        InvalidLabels: the cell does not name a file, names one outside the folder, or is a number that Excel shortened.
    """
    if "+" in cell and _SCIENTIFIC.fullmatch(cell):
        raise InvalidLabels(_SHORTENED)
    parts = [part for part in cell.replace("\\", "/").split("/") if part != "."]
    name = "/".join(parts)
    if _ABSOLUTE.match(name):
        raise InvalidLabels(f"is {quoted(cell)}, an absolute path; name images relative to their folder")
    if not parts[-1:] or not parts[-1] or ".." in parts or _CONTROL.search(name):
        raise InvalidLabels(f"is {quoted(cell)}, not the name of an image")
    return name


def parse_patient_id(cell: str) -> str | None:
    """Parse the patient id of a CSV, see `normalise_patient_id`.

    Raises:
        InvalidLabels: a spreadsheet wrote something else than the id.
    """
    if not cell.isdigit() and _THOUSANDS.fullmatch(cell):
        raise InvalidLabels(f"seems to have thousands separators; {_AS_TEXT}")
    return normalise_patient_id(cell)


def normalise_patient_id(cell: str) -> str | None:
    """Normalise a patient id: `00000013`, `13` and `13.0` are one patient. Other texts stay as they are.

    Returns:
        The id, or None for an empty cell and for `nan`.

    Raises:
        InvalidLabels: a spreadsheet wrote the same instead of the ids of many patients.
    """
    cell = cell.strip()
    if not cell.isdigit():
        cell = _strip_decimals(cell)
        # Messages are without the cell's text: it may be a patient's, and the nightly producer logs them.
        if _SCIENTIFIC.fullmatch(cell):
            raise InvalidLabels(_SHORTENED)
        if _FAILED_FORMULA.fullmatch(cell):
            raise InvalidLabels("is a spreadsheet's error instead of an id; correct it there and save the file again")
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


def _strip_decimals(cell: str) -> str:
    found = _WHOLE_FLOAT.fullmatch(cell)
    return found[1] if found else cell


def _fits_sql(digits: str) -> bool:
    return digits.isdecimal() and len(digits) <= _MAX_DIGITS
