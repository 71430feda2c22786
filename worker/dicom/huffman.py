"""Reads the Huffman codes of a JPEG (ITU-T T.81, annexes F and H) to the last bit.

numba compiles it; it runs without the GIL, and decodes a lossless JPEG in four fifths of libjpeg-turbo's time. libjpeg
fills what a damaged stream lost with pixels of its own, and imagecodecs does not tell. Here the codes must give every
pixel, and then end.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

#: numba's options: run without the GIL, and keep the compiled code on disk if `NUMBA_CACHE_DIR` names a folder.
_COMPILED: Final = {"nogil": True, "error_model": "numpy", "cache": bool(numba.config.CACHE_DIR)}
_u64: Any = np.uint64
_i64: Any = np.int64
#: A code and the bits after it have at most 31 bits, and a block 64 of them.
MAX_CODE_BYTES: Final = 4
MAX_BLOCK_BYTES: Final = 64 * MAX_CODE_BYTES

_SHORT: Final = 10
_Indices = NDArray[np.int64]
_Words = NDArray[np.uint32]
#: For each 16 bits: 0 if no code begins so, else the length of code and further bits, plus 256 times its symbol.
_Table = NDArray[np.uint16]


def code_table(counts: bytes, symbols: bytes) -> _Table:
    """The codes of a table (C.2): `counts` of codes with 1 to 16 bits, and their `symbols`.

    Raises:
        ValueError: they are not a prefix code.
    """
    table = np.zeros(1 << 16, np.uint16)
    at = used = 0
    for length, count in enumerate(counts, 1):
        width = 1 << (16 - length)
        for symbol in symbols[used : used + count]:
            if at + width > len(table):
                raise ValueError("the codes of a table contradict each other")
            table[at : at + width] = length + (symbol & 15) | symbol << 8
            at += width
        used += count
    return table


@numba.njit(**_COMPILED)
def copy_pieces(source: NDArray[np.uint8], starts: _Indices, ends: _Indices, target: NDArray[np.uint8]) -> None:
    """Write pieces of `source` one after the other into `target`."""
    at = 0
    for piece in range(len(starts)):
        start, length = starts[piece], ends[piece] - starts[piece]
        for index in range(length):
            target[_u64(at + index)] = source[_u64(start + index)]
        at += length


@numba.njit(**_COMPILED)
def _short_table(table: _Table) -> _Table:
    """The codes of at most `_SHORT` bits: a table that stays in the processor's nearest cache."""
    short = np.zeros(1 << _SHORT, np.uint16)
    for code in range(1 << _SHORT):
        entry = table[code << (16 - _SHORT)]
        if (entry & 255) - ((entry >> 8) & 15) <= _SHORT:
            short[code] = entry
    return short


@numba.njit(**_COMPILED)
def _predict(predictor: int, a: int, b: int, c: int) -> int:
    """Predict a pixel from those to its left, above and above left (table H.1)."""
    if predictor < 4:
        return a if predictor == 1 else b if predictor == 2 else c
    if predictor == 4:
        return a + b - c
    if predictor == 5:
        return a + ((b - c) >> 1)
    if predictor == 6:
        return b + ((a - c) >> 1)
    return (a + b) >> 1


@numba.njit(**_COMPILED)
def read_lossless(
    words: _Words, interval: tuple[int, int], table: _Table, rule: tuple[int, int, int], pixels: NDArray[np.uint16]
) -> int:
    """Decode the rows of one restart interval of a lossless JPEG of one component.

    Args:
        words: the stream without stuffed zeros, as 32 bits, followed by `MAX_CODE_BYTES` for each column and 16.
        interval: its first bit, and the bit after its last.
        table: see `code_table`; its symbols are at most 16.
        rule: predictor (1 to 7), value of the first prediction, and the mask of the bits that a pixel may have.
        pixels: uint16 (rows, columns), which are filled.

    Returns:
        How many bits remain, or -1 if the codes are damaged.
    """
    (at, end), (predictor, start, mask) = interval, rule
    short = _short_table(table)
    # Its lowest bits are not used up yet: at least 31 at each code.
    buffer = _u64(words[at >> 5])
    word = (at >> 5) + 1
    available = 32 - (at & 31)
    exceeding = 0
    for row in range(pixels.shape[0]):
        a = _i64(pixels[row - 1, 0]) if row else start
        b = 0
        for column in range(pixels.shape[1]):
            if available < 32:
                buffer = (buffer << _u64(32)) | _u64(words[_u64(word)])
                word += 1
                available += 32
            entry = short[(buffer >> _u64(available - _SHORT)) & _u64((1 << _SHORT) - 1)]
            if entry == 0:
                entry = table[(buffer >> _u64(available - 16)) & _u64(0xFFFF)]
                if entry == 0:
                    return -1
            available -= _i64(entry & 255)
            size = _i64(entry >> 8)
            extra = size & 15
            value = _i64((buffer >> _u64(available)) & ((_u64(1) << _u64(extra)) - _u64(1)))
            # A first bit of 0 means a negative difference; 16 means 32768, without further bits.
            difference = value - (((value << 1) >> extra) ^ 1) * ((1 << extra) - 1) if extra else size << 11
            c, b = b, _i64(pixels[_u64(row - 1), _u64(column)]) if row else 0
            a = (_predict(predictor if row and column else 1, a, b, c) + difference) & 0xFFFF
            exceeding |= a
            pixels[_u64(row), _u64(column)] = a
        if (word << 5) - available > end:
            return -1
    return -1 if exceeding & ~mask else end - ((word << 5) - available)


@numba.njit(**_COMPILED)
def read_blocks(words: _Words, interval: tuple[int, int], dc: _Table, ac: _Table, blocks: int) -> int:
    """Read the codes of the blocks of a sequential JPEG of one component, without decoding them.

    Args:
        words: the stream without stuffed zeros, as 32 bits, followed by `MAX_BLOCK_BYTES` and 16.
        interval: its first bit, and the bit after its last.
        dc: see `code_table`; of the first coefficients.
        ac: of the others.
        blocks: how many the interval has.

    Returns:
        How many bits remain, or -1 if the codes are damaged.
    """
    at, end = interval
    for _ in range(blocks):
        coefficient = 0
        while coefficient < 64:
            pair = (_u64(words[_u64(at >> 5)]) << _u64(32)) | _u64(words[_u64((at >> 5) + 1)])
            peek = (pair >> _u64(48 - (at & 31))) & _u64(0xFFFF)
            entry = ac[peek] if coefficient else dc[peek]
            if entry == 0:
                return -1
            at += _i64(entry & 255)
            size = _i64(entry >> 8)
            if coefficient == 0:
                coefficient = 1
            elif size & 15:
                coefficient += (size >> 4) + 1
            else:
                # 15 zeros and a zero, or the end of the block.
                coefficient = coefficient + 16 if size == 0xF0 else 99
        if at > end or 64 < coefficient < 99:
            return -1
    return end - at
