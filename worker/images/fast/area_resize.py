"""Scales gray images down as cv2's INTER_AREA does, to the same pixels, in a fifth of the time: compiled by numba.

Each pixel is the mean of the area that it covers, so a pixel at the area's edge counts in part. In units of a q-th of a
source pixel, where source and result are as p to q, all parts are whole numbers that sum to p. cv2 computes with
part / p in float32. Where p is a power of two (1024 to 224: p is 32) that is exact, in whatever order it is summed, and
so are whole numbers: all columns of a row at once, and rows before columns, of which there are fewer then.
"""

from functools import lru_cache
from math import gcd
from typing import Any, Final, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from worker.images.fast.png_unfilter import COMPILED

#: 255 * p fits 16 bits, and 255 * p * p the 24 that a float32 is exact in.
_MOST: Final = 256

#: For each pixel made: the first that it covers, and (count, made) how much it covers of that and of those that follow.
_Parts: TypeAlias = tuple[NDArray[np.int32], NDArray[np.uint16]]

_i32: Any = np.int32
_u16: Any = np.uint16
#: numba looks for an index from the end where one may be negative.
_u64: Any = np.uint64


def shrink(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8] | None:
    """Scale uint8 (H, W) down to (height, width); None where that is not exact, or nothing that this is quicker at."""
    (p, q), (other_p, other_q) = _ratio(image.shape[0], height), _ratio(image.shape[1], width)
    # Whole pixels to each: cv2 has a way of its own, which rounds otherwise.
    if not (_is_exact(p, q) and _is_exact(other_p, other_q)) or q == other_q == 1:
        return None
    result = np.empty((height, width), np.uint8)
    _shrink(image, _parts(p, q, height), _parts(other_p, other_q, width), (p * other_p).bit_length() - 1, result)
    return result


def _ratio(given: int, made: int) -> tuple[int, int]:
    return given // gcd(given, made), made // gcd(given, made)


def _is_exact(p: int, q: int) -> bool:
    return q <= p <= _MOST and p & (p - 1) == 0


@lru_cache(maxsize=64)
def _parts(p: int, q: int, made: int) -> _Parts:
    begins = np.arange(made) * p
    first = begins // q
    covered = first + np.arange(-(-p // q) + 1)[:, np.newaxis]
    parts = np.minimum(begins + p, (covered + 1) * q) - np.maximum(begins, covered * q)
    return first.astype(np.int32), np.maximum(parts, 0).astype(np.uint16)


@numba.njit(**COMPILED)
def _add(line: NDArray[np.uint8], part: int, sums: NDArray[np.uint16]) -> None:
    """Add a row's part. 16 bits at every turn, or the compiler takes 64."""
    for x in range(line.size):
        sums[x] = _u16(sums[x] + _u16(_u16(part) * _u16(line[x])))


_IMAGE: Final = numba.types.Array(numba.uint8, 2, "A", readonly=True)
_BOTH: Final = numba.types.Tuple((numba.int32[::1], numba.uint16[:, ::1]))


@numba.njit(numba.void(_IMAGE, _BOTH, _BOTH, numba.int64, numba.uint8[:, ::1]), **COMPILED)
def _shrink(image: NDArray[np.uint8], rows: _Parts, columns: _Parts, bits: int, result: NDArray[np.uint8]) -> None:
    """Fill the result; of each sum, `bits` are a fraction."""
    (top, row_parts), (left, column_parts) = rows, columns
    height, width = result.shape
    # Beyond the last column: the last pixels cover nothing there, but look.
    sums = np.zeros(image.shape[1] + len(column_parts), np.uint16)
    totals = np.zeros(width, np.int32)
    below_half = _i32((1 << (bits - 1)) - 1)
    for y in range(height):
        sums[:] = 0
        for turn in range(len(row_parts)):
            if row_parts[turn, y] > 0:
                _add(image[top[y] + turn], row_parts[turn, y], sums[: image.shape[1]])
        totals[:] = 0
        for turn in range(len(column_parts)):
            for x in range(width):
                part, covered = _i32(column_parts[turn, x]), _i32(sums[_u64(left[x]) + _u64(turn)])
                totals[x] = _i32(totals[x] + _i32(part * covered))
        for x in range(width):
            # As cv2 rounds: half of one to the even.
            even = _i32(_i32(totals[x] >> bits) & 1)
            result[y, x] = _i32(totals[x] + below_half + even) >> bits
