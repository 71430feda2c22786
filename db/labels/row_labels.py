"""Parses what a row says of its scan's findings, from a list in a cell or from one column a finding."""

import re
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final

from db.findings import NIH_FINDINGS, NO_FINDING, SPECIFIC_FINDINGS
from db.labels.cells import quoted
from db.labels.columns import FindingColumn
from db.labels.reading import Reading
from db.labels.text import InvalidLabels
from db.labels.words import FindingWords

#: Distinct cells to remember. NIH's 112,120 rows have 836 distinct combinations of findings.
_CACHE_SIZE: Final = 4096
#: CheXpert's labeler lets it stand beside `No Finding`, and nothing else (Irvin et al. 2019).
_BESIDE_NO_FINDING: Final = frozenset({"Support Devices"})
#: What a cell in a column of a finding may hold, in small letters and without `.0`.
_POSITIVE: Final = frozenset({"1", "yes", "true"})
_NEGATIVE: Final = frozenset({"0", "no", "false"})
_UNCERTAIN: Final = frozenset({"-1"})
_BLANK: Final = frozenset({"", "nan"})
_DECIMALS: Final = re.compile(r"\.0+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowLabels:
    """What a row says of its scan's findings, as in `LabelRow`."""

    findings: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    #: Unknown words of the row that were left out.
    ignored: tuple[str, ...] = ()


class ListParser:
    """Parses findings in one cell: NIH's `Mass|Edema`, also with `;`, or PadChest's `['mass', 'pulmonary edema']`."""

    def __init__(self, words: FindingWords) -> None:
        self._words = words
        #: Findings that the file names somewhere.
        self.named: set[str] = set()
        #: A cell is a list in brackets.
        self.has_brackets = False
        self.parse = lru_cache(_CACHE_SIZE)(self._parse)

    def _parse(self, cell: str) -> RowLabels:
        if cell.startswith("[") and cell.endswith("]"):
            self.has_brackets = True
            parts = [part.strip(" '\"") for part in re.split(r"[|;,]", cell[1:-1])]
        else:
            parts = re.split(r"[|;]", cell)
        words = [part for part in parts if part.strip()]
        found = [self._words.finding(word) for word in words]
        findings = {finding for finding in found if finding}
        _check_no_finding(findings)
        self.named |= findings
        return RowLabels(
            findings=tuple(sorted(findings)),
            negative=(NO_FINDING,) if words and not findings else (),
            ignored=tuple(word.strip() for word, finding in zip(words, found, strict=True) if finding is None),
        )


class ColumnsParser:
    """Parses one column a finding, with 1, 0, -1 and blank as in CheXpert, or YES and NO."""

    def __init__(self, columns: Sequence[FindingColumn], reading: Reading) -> None:
        self._columns = columns
        self._indices = [column.index for column in columns]
        self._pick = itemgetter(*self._indices, self._indices[0])
        self._uncertain = {"ignore": -1, "positive": 1, "negative": 0}[reading.uncertain]
        self._blank = 0 if reading.blank == "negative" else None
        named = {column.finding for column in columns}
        #: See `LabelsFile.covered`.
        self.covered = in_order(named) if reading.blank == "negative" else ()
        self._parse = lru_cache(_CACHE_SIZE)(self._parse_cells)

    def read(self, cells: Sequence[str]) -> RowLabels:
        """Parse a row.

        Raises:
            InvalidLabels: a cell holds something else, or `No Finding` stands beside another finding.
        """
        if len(cells) <= self._indices[-1]:
            cells = [*cells, *[""] * (self._indices[-1] + 1 - len(cells))]
        return self._parse(self._pick(cells))

    def _parse_cells(self, cells: Sequence[str]) -> RowLabels:
        by_value: dict[int | None, set[str]] = {1: set(), -1: set(), 0: set(), None: set()}
        ignored = []
        # The cells end with the first one again: `itemgetter` gives a tuple of two or more.
        for column, cell in zip(self._columns, cells, strict=False):
            value = self._value(column, cell)
            if column.finding is not None:
                by_value[value].add(column.finding)
            elif value == 1:
                ignored.append(column.name)
        findings, uncertain, negative, blank = by_value.values()
        _check_no_finding(findings)
        if NO_FINDING in findings:
            # It was given because nothing else was found.
            negative |= blank - _BESIDE_NO_FINDING
        # Of two columns of one finding, such as a hospital's two kinds of fracture, the one that names it counts.
        uncertain -= findings
        return self._row_labels(findings, uncertain, negative - findings - uncertain, ignored)

    def _row_labels(
        self, findings: set[str], uncertain: set[str], negative: set[str], ignored: Sequence[str]
    ) -> RowLabels:
        said = negative - {NO_FINDING, *self.covered}
        is_bare = bool(negative) and not (findings or uncertain or said)
        return RowLabels(
            findings=tuple(sorted(findings)),
            uncertain=tuple(sorted(uncertain)),
            negative=(NO_FINDING,) if is_bare else tuple(sorted(said)),
            ignored=tuple(ignored),
        )

    def _value(self, column: FindingColumn, cell: str) -> int | None:
        """1, 0, -1 for uncertain, or None for unknown."""
        text = _DECIMALS.sub("", cell.strip().casefold())
        if text in _BLANK:
            return self._blank
        if text in _POSITIVE:
            return 1
        if text in _NEGATIVE:
            return 0
        if text in _UNCERTAIN:
            return self._uncertain
        raise InvalidLabels(
            f"{quoted(column.name)} has {quoted(cell.strip())} instead of 1, 0, -1, YES, NO or nothing; "
            f"correct it, or leave the column out with --map {quoted(f'{column.name}=')}"
        )


def list_covered(parser: ListParser, *, as_nih: bool) -> tuple[str, ...]:
    """The findings that a list's silence denies: those that the file names, and in NIH's layout all of NIH's.

    NIH's labelers looked for all fourteen in every report, so each version has read its lists in this way.
    """
    return in_order({*parser.named, *NIH_FINDINGS} if as_nih else parser.named)


def in_order(findings: Collection[str | None]) -> tuple[str, ...]:
    """The specific ones of some findings, in the order of `SPECIFIC_FINDINGS`."""
    return tuple(finding for finding in SPECIFIC_FINDINGS if finding in findings)


def _check_no_finding(findings: AbstractSet[str]) -> None:
    if NO_FINDING in findings and findings - _BESIDE_NO_FINDING - {NO_FINDING}:
        raise InvalidLabels(f"has {NO_FINDING!r} beside another finding; remove one of them")
