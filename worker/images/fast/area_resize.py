"""Scales gray images down as cv2's INTER_AREA does, to the same pixels in a fifth of the time. numba compiles it.

Each result pixel is the mean of the area that it covers, so a source pixel at the area's edge counts in part. If the
lengths of source and result are as p to q, and lengths are measured in q-ths of a source pixel, all weights are whole
numbers that sum to p. cv2 computes with weight / p in float32. If p is a power of two (1024 to 224: p is 32), that is
exact in any order of summation, and so is integer arithmetic. Here all columns of a row are summed at once, and rows
before columns, because fewer rows are left then.
"""

from functools import lru_cache
from math import gcd
from typing import Any, Final, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from worker.images.fast.png_unfilter import COMPILED

#: The largest p: 255 * p fits 16 bits, and 255 * p * p fits the 24 bits in which a float32 is exact.
_MAX_RATIO: Final = 256

#: For each result pixel: the first source pixel that it covers, int32 (made,), and the weights of that one and of those
#: that follow, uint16 (count, made).
_Weights: TypeAlias = tuple[NDArray[np.int32], NDArray[np.uint16]]

_i32: Any = np.int32
_u16: Any = np.uint16
#: An index that may be negative makes numba check whether it counts from the end.
_u64: Any = np.uint64


def resize_area(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8] | None:
    """Scale uint8 (H, W) down to (height, width); None if that would not be exact, or not faster than cv2."""
    (p, q), (other_p, other_q) = _ratio(image.shape[0], height), _ratio(image.shape[1], width)
    # If each result pixel covers whole source pixels, cv2 uses another method, which rounds differently.
    if not (_is_exact(p, q) and _is_exact(other_p, other_q)) or q == other_q == 1:
        return None
    result = np.empty((height, width), np.uint8)
    _resize(image, _weights(p, q, height), _weights(other_p, other_q, width), (p * other_p).bit_length() - 1, result)
    return result


def _ratio(given: int, made: int) -> tuple[int, int]:
    return given // gcd(given, made), made // gcd(given, made)


def _is_exact(p: int, q: int) -> bool:
    return q <= p <= _MAX_RATIO and p & (p - 1) == 0


@lru_cache(maxsize=64)
def _weights(p: int, q: int, made: int) -> _Weights:
    begins = np.arange(made) * p
    first = begins // q
    covered = first + np.arange(-(-p // q) + 1)[:, np.newaxis]
    weights = np.minimum(begins + p, (covered + 1) * q) - np.maximum(begins, covered * q)
    return first.astype(np.int32), np.maximum(weights, 0).astype(np.uint16)


@numba.njit(**COMPILED)
def _add_row(line: NDArray[np.uint8], weight: int, sums: NDArray[np.uint16]) -> None:
    """Add a row with its weight. Every value is cast to 16 bits, or the compiler uses 64."""
    for x in range(line.size):
        sums[x] = _u16(sums[x] + _u16(_u16(weight) * _u16(line[x])))


_READ_ONLY: Final = numba.types.Array(numba.uint8, 2, "A", readonly=True)
_WEIGHTS: Final = numba.types.Tuple((numba.int32[::1], numba.uint16[:, ::1]))


@numba.njit(numba.void(_READ_ONLY, _WEIGHTS, _WEIGHTS, numba.int64, numba.uint8[:, ::1]), **COMPILED)
def _resize(image: NDArray[np.uint8], rows: _Weights, columns: _Weights, bits: int, result: NDArray[np.uint8]) -> None:
    """Fill the result. The last `bits` of each sum are its fraction."""
    (top, row_weights), (left, column_weights) = rows, columns
    height, width = result.shape
    # Longer than the row: the last pixels read beyond it, with a weight of 0.
    sums = np.zeros(image.shape[1] + len(column_weights), np.uint16)
    totals = np.zeros(width, np.int32)
    below_half = _i32((1 << (bits - 1)) - 1)
    for y in range(height):
        sums[:] = 0
        for turn in range(len(row_weights)):
            if row_weights[turn, y] > 0:
                _add_row(image[top[y] + turn], row_weights[turn, y], sums[: image.shape[1]])
        totals[:] = 0
        for turn in range(len(column_weights)):
            for x in range(width):
                weight, covered = _i32(column_weights[turn, x]), _i32(sums[_u64(left[x]) + _u64(turn)])
                totals[x] = _i32(totals[x] + _i32(weight * covered))
        for x in range(width):
            # cv2 rounds half to even.
            even = _i32(_i32(totals[x] >> bits) & 1)
            result[y, x] = _i32(totals[x] + below_half + even) >> bits
