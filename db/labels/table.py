"""Rows of cells out of a CSV's lines, separated as NIH, Kaggle, a hospital or a spreadsheet separates them."""

import csv
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

from db.labels.text import InvalidLabels

#: Comma; semicolon, where the comma is a decimal point; tab, Excel's "Unicode text".
_SEPARATORS: Final = (",", ";", "\t")
#: Excel is told its separator by a line above the header.
_SEPARATOR_LINE: Final = re.compile(r"sep=[,;\t]?[\r\n]*", re.IGNORECASE)
#: Lines in which the header must be.
_START: Final = 64

Row = tuple[int, list[str]]


def read_table(lines: Iterator[str], is_header: Callable[[list[str]], bool]) -> Iterator[Row]:
    """The line on which each row begins, from 1, and its cells. Rows that say nothing are passed over.

    The first row is the header: the separator is the one by which `is_header` knows it.

    Raises:
        InvalidLabels: quotes that are not closed, which would swallow rows, more cells than the header has, or an
            end in the middle of a row; names the row.
    """
    start = list(islice(lines, _START))
    if start and _SEPARATOR_LINE.fullmatch(start[0]):
        start[0] = "\n"

    def fitness(separator: str) -> tuple[bool, int]:
        header = _header(start, separator)
        return is_header(header), len(header)

    yield from _even_rows(chain(start, lines), max(_SEPARATORS, key=fitness))


def _even_rows(lines: Iterator[str], separator: str) -> Iterator[Row]:
    """Rows no longer than the first; refuses those that are, and an end in the middle of one."""
    last = ""

    def remembered() -> Iterator[str]:
        nonlocal last
        for text in lines:
            last = text
            yield text

    width, line = 0, 0
    cells: list[str] = []
    for line, cells in _rows(remembered(), separator):
        width = width or len(cells)
        # Two rows that lost the line end between them, or a comma that is not quoted.
        if any(map(str.strip, cells[width:])):
            many = f"{len(cells)} cells under {width} columns"
            raise InvalidLabels(f"row {line}: has {many}: a line end is lost, or a comma is not quoted")
        yield line, cells
    if len(cells) < width and not last.endswith(("\n", "\r")):
        raise InvalidLabels(f"row {line}: the file ends in the middle of it; is it complete?")


def _header(start: list[str], separator: str) -> list[str]:
    try:
        return next(_rows(iter(start), separator), (0, []))[1]
    except InvalidLabels:
        # By this separator it is no table at all.
        return []


def _rows(lines: Iterator[str], separator: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidLabels(f"row {line}: a cell has no end: its quote is not closed, or closed too early") from error
