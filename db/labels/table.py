"""Splits a CSV's lines into rows of cells, whichever separator it uses."""

import csv
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

from db.labels.text import InvalidLabels

#: Comma; semicolon, where the comma is the decimal separator; tab, in Excel's "Unicode text".
_SEPARATORS: Final = (",", ";", "\t")
#: A line above the header that tells Excel the separator.
_SEPARATOR_LINE: Final = re.compile(r"sep=[,;\t]?[\r\n]*", re.IGNORECASE)
#: The header must be within this many lines.
_HEADER_LINES: Final = 64

Row = tuple[int, list[str]]


def read_table(lines: Iterator[str], count_fields: Callable[[list[str]], int]) -> Iterator[Row]:
    """Yield the number of the line on which each row begins, from 1, and the row's cells. Empty rows are skipped.

    The first row is the header; the separator is the one with which `count_fields` finds most in it.

    Raises:
        InvalidLabels: a quote is not closed and would swallow rows, a row has more cells than the header, or the file
            ends in the middle of a row; names the row.
    """
    start = list(islice(lines, _HEADER_LINES))
    if start and _SEPARATOR_LINE.fullmatch(start[0]):
        start[0] = "\n"

    def rank_separator(separator: str) -> tuple[int, int]:
        header = _header(start, separator)
        return count_fields(header), len(header)

    yield from _check_row_lengths(chain(start, lines), max(_SEPARATORS, key=rank_separator))


def _check_row_lengths(lines: Iterator[str], separator: str) -> Iterator[Row]:
    """Refuse rows with more cells than the first one, and a file that ends in the middle of a row."""
    last = ""

    def track_last_line() -> Iterator[str]:
        nonlocal last
        for text in lines:
            last = text
            yield text

    width, line = 0, 0
    cells: list[str] = []
    for line, cells in _parse_rows(track_last_line(), separator):
        width = width or len(cells)
        # The line end between two rows is missing, or a comma is not quoted.
        if any(map(str.strip, cells[width:])):
            counts = f"{len(cells)} cells under {width} columns"
            raise InvalidLabels(f"row {line}: has {counts}: a line end is missing, or a comma is not quoted")
        yield line, cells
    if len(cells) < width and not last.endswith(("\n", "\r")):
        raise InvalidLabels(f"row {line}: the file ends in the middle of it; fetch the complete file")


def _header(start: list[str], separator: str) -> list[str]:
    try:
        return next(_parse_rows(iter(start), separator), (0, []))[1]
    except InvalidLabels:
        # With this separator, the lines are not a table.
        return []


def _parse_rows(lines: Iterator[str], separator: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidLabels(f"row {line}: a cell has no end: its quote is not closed, or closed too early") from error
