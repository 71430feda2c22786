"""Reads what a hospital's own terms mean, from `--map TERM=FINDING` and the file of `--map-file`."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from db.errors import UserError
from db.labels.cells import quoted
from db.labels.text import HashedFile, InvalidLabels, read_lines
from db.labels.words import NOTHING, known_finding, nearest, normalise

#: Where a term was read, as a message says it; the term, and the finding that it means or `NOTHING`.
_Term: TypeAlias = tuple[str, str, str]
#: The header that a file may have.
_HEADER: Final = ["term", "finding"]


def parse_terms(texts: Iterable[str], file: Path | None) -> tuple[tuple[str, str], ...]:
    """The terms and their findings, sorted; see `Reading.mapped`.

    Raises:
        UserError: a text is not TERM=FINDING, a finding is unknown, the file cannot be read, or a term means two
            findings; names the flag, or the file and row.
    """
    meanings: dict[str, str] = {}
    for where, term, finding in [*map(_parse_flag, texts), *(_read_file(file) if file else ())]:
        key = normalise(term)
        if not key:
            raise UserError(f"{where}: the term is empty")
        if meanings.setdefault(key, finding) != finding:
            raise UserError(f"{where}: {quoted(term)} means another finding already, {meanings[key]!r}; keep one")
    return tuple(sorted(meanings.items()))


def _parse_flag(text: str) -> _Term:
    # A term may contain the sign, a finding does not.
    term, equals, finding = text.rpartition("=")
    where = f"--map {quoted(text)}"
    if not equals:
        raise UserError(f"{where}: write TERM=FINDING, or TERM= for a term that means none")
    return where, term.strip(), _finding(finding, where)


def _read_file(path: Path) -> Iterator[_Term]:
    try:
        with path.open("rb", buffering=0) as file:
            reader = csv.reader(read_lines(HashedFile(file)), skipinitialspace=True, strict=True)
            for cells in reader:
                row = [cell.strip() for cell in cells]
                where = f"{path}: row {reader.line_num}"
                if any(row[2:]) or len(row) == 1:
                    raise UserError(f"{where}: has {len(row)} cells; write a term and a finding, separated by a comma")
                if any(row) and [cell.casefold() for cell in row] != _HEADER:
                    yield where, row[0], _finding(row[1], where)
    except OSError as error:
        raise UserError(f"--map-file {path}: cannot be read ({error.strerror})") from error
    except (InvalidLabels, csv.Error) as error:
        raise UserError(f"--map-file {path}: {error}") from error


def _finding(text: str, where: str) -> str:
    if not text.strip():
        return NOTHING
    finding = known_finding(text)
    if not finding:
        raise UserError(f"{where}: {quoted(text.strip())} is not a known finding{nearest(text)}")
    return finding
