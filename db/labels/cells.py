"""What a cell of a labels CSV says: an image's name, findings, a patient's id, an age."""

import re
import sys
from functools import lru_cache
from typing import Final

from db.findings import NIH_FINDINGS, NO_FINDING
from db.labels.text import InvalidLabels

#: More digits than a SQL integer surely holds.
_SQL_DIGITS: Final = 10
#: NIH writes ages as 060Y, 013M, 001D or a plain number of years.
_YEARS_PER: Final = {"Y": 1.0, "M": 1 / 12, "D": 1 / 365.25}
#: `/data/a.png`, `C:/a.png`, `//server/a.png`, `s3://bucket/a.png`.
_ABSOLUTE: Final = re.compile(r"/|\w+:/")
#: How pandas writes whole numbers of a column that has gaps.
_AS_FLOAT: Final = re.compile(r"(\d+)\.0+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
#: More different cells than findings are ever combined in; NIH's 112,120 rows have 836.
_CACHED: Final = 4096


def _plain(finding: str) -> str:
    return re.sub(r"[\s_-]+", " ", finding).strip().casefold()


_FINDINGS: Final = {
    **{_plain(finding): finding for finding in (*NIH_FINDINGS, NO_FINDING)},
    "no findings": NO_FINDING,
    "normal": NO_FINDING,
}
#: Of a cell that is quoted in a sentence.
_MAX_SHOWN: Final = 60


def image_name(cell: str) -> str:
    """An image's name: a path relative to the images' folder, its parts joined by '/', whoever wrote it.

    Raises:
        InvalidLabels: it names no file, or one outside of any folder.
    """
    parts = [part for part in cell.replace("\\", "/").split("/") if part != "."]
    name = "/".join(parts)
    if _ABSOLUTE.match(name):
        raise InvalidLabels(f"is {shown(cell)}, an absolute path; images are named relative to their folder")
    if not parts[-1:] or not parts[-1] or ".." in parts or _CONTROL.search(name):
        raise InvalidLabels(f"is {shown(cell)}, not the name of an image")
    return name


@lru_cache(_CACHED)
def findings(cell: str) -> tuple[str, ...]:
    """NIH's findings, sorted; () of an empty cell. `|` or `;` stands between them; case, spaces, `_`, `-` say nothing.

    Raises:
        InvalidLabels: an unknown finding, or `No Finding` beside another.
    """
    found = {_finding(part) for part in re.split(r"[|;]", cell) if part.strip()}
    if NO_FINDING in found and len(found) > 1:
        raise InvalidLabels(f"has {NO_FINDING!r} beside a finding")
    return tuple(sorted(found))


def normal_patient_id(cell: str) -> str | None:
    """`00000013`, `13` and `13.0` are one patient, `nan` is none; an id that is not a number stays as it is."""
    cell = _whole(cell.strip())
    if cell.lower() == "nan":
        return None
    return known((cell.lstrip("0") or "0") if cell.isdigit() else cell)


@lru_cache(_CACHED)
def age_in_years(cell: str) -> float | None:
    """`060Y` is 60, `013M` is 1.08, `77` is 77; anything else is unknown. Impossible ages (411Y) stay as written."""
    cell = cell.strip().upper()
    number, unit = (cell[:-1], cell[-1]) if cell[-1:] in _YEARS_PER else (_whole(cell), "Y")
    return int(number) * _YEARS_PER[unit] if _fits_sql(number) else None


def count(cell: str) -> int | None:
    """A whole number; None where it is none, or larger than SQL holds."""
    cell = _whole(cell)
    return int(cell) if _fits_sql(cell) else None


def known(cell: str) -> str | None:
    """The cell; None where it is empty."""
    # A million rows say the same few words.
    return sys.intern(cell) if cell else None


def shown(text: str) -> str:
    """A file's own words in a sentence: on one line, and short."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def _finding(part: str) -> str:
    finding = _FINDINGS.get(_plain(part))
    if finding is None:
        raise InvalidLabels(f"has {shown(part.strip())}, which is none of NIH's findings")
    return finding


def _whole(cell: str) -> str:
    found = _AS_FLOAT.fullmatch(cell)
    return found[1] if found else cell


def _fits_sql(digits: str) -> bool:
    return digits.isdecimal() and len(digits) < _SQL_DIGITS
