"""Undoes the filters of an 8-bit gray PNG: compiled by numba, without the GIL, several times as fast as libpng.

What is stored is how far each pixel is from a prediction, made of the pixel to its left (a), above it (b) and above
left (c): section 9 of the PNG specification. So a row is one chain, in which every step waits for the one before; but
the next row can begin as soon as this one is a pixel ahead. Here `LANES` rows go side by side, each one pixel behind
the row above, as one vector of the processor.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

#: As many 16-bit numbers as one vector of AVX-512 has.
LANES: Final = 32
#: The last of the filters.
_PAETH: Final = 4
#: Bytes of a line of the processor's cache.
_LINE: Final = 64

#: Without the GIL, and kept on disk where the environment says where (`NUMBA_CACHE_DIR`).
COMPILED: Final = {"nogil": True, "error_model": "numpy", "cache": bool(numba.config.CACHE_DIR)}

_i16: Any = np.int16
#: numba looks for an index from the end where one may be negative.
_u64: Any = np.uint64
_Bytes = NDArray[np.uint8]
#: A number for each lane.
_Lanes = NDArray[np.int16]


def room_for(height: int, width: int) -> NDArray[np.uint8]:
    """An array of uint8 (height, more than width) that `unfilter` writes quickly.

    Its rows are an odd number of lines apart. Were it a power of two, as radiographs are wide, all lanes' pixels would
    have to share one place in the processor's cache.
    """
    lines = width // _LINE + 1
    return np.empty((height, _LINE * (lines | 1)), np.uint8)


@numba.njit(**COMPILED)
def _fetch(stored: _Bytes, at: int, stride: int, within: tuple[int, int], differences: _Lanes) -> None:
    """Take the differences of the lanes `within` the image; each is `stride` bytes behind the one above."""
    first, end = within
    if end - first == LANES:
        # Of a length that the compiler knows.
        for lane in range(LANES):
            differences[lane] = stored[_u64(at) + _u64(lane) * _u64(stride)]
    else:
        for lane in range(first, end):
            differences[lane] = stored[_u64(at) + _u64(lane) * _u64(stride)]


@numba.njit(**COMPILED)
def _put(pixels: _Bytes, at: int, stride: int, within: tuple[int, int], now: _Lanes) -> None:
    """Write the pixels of the lanes `within` the image."""
    first, end = within
    if end - first == LANES:
        for lane in range(LANES):
            pixels[_u64(at) + _u64(lane) * _u64(stride)] = now[lane + 1]
    else:
        for lane in range(first, end):
            pixels[_u64(at) + _u64(lane) * _u64(stride)] = now[lane + 1]


@numba.njit(**COMPILED)
def _step(before: _Lanes, last: _Lanes, differences: _Lanes, masks: NDArray[np.int16], now: _Lanes) -> None:
    """Make one pixel of each lane. 16 bits at every turn, or the compiler takes 64."""
    for lane in range(LANES):
        a, b, c = last[lane + 1], last[lane], before[lane]
        from_a, from_b = _i16(b - c), _i16(a - c)
        from_c = _i16(from_a + from_b)
        from_a, from_b, from_c = abs(from_a), abs(from_b), abs(from_c)
        nearest = b if from_b <= from_c else c
        nearest = a if from_a <= min(from_b, from_c) else nearest
        mean = _i16(_i16(a + b) >> _i16(1))
        predicted = (a & masks[1, lane]) | (b & masks[2, lane]) | (mean & masks[3, lane]) | (nearest & masks[4, lane])
        now[lane + 1] = _i16(differences[lane] + _i16(predicted)) & _i16(255)


_READ_ONLY = numba.types.Array(numba.uint8, 2, "C", readonly=True)


@numba.njit(numba.void(_READ_ONLY, numba.uint8[:, ::1]), **COMPILED)
def unfilter(filtered: _Bytes, image: _Bytes) -> None:
    """Fill the first columns of an image.

    Args:
        filtered: uint8 (height, 1 + width): of each row its filter, 0 to 4, and its pixels' differences, modulo 256.
        image: uint8 (height, at least width).
    """
    height, width, stride = filtered.shape[0], filtered.shape[1] - 1, image.shape[1]
    stored, pixels = filtered.reshape(-1), image.reshape(-1)
    # By filter and lane: all bits set where the lane's row has that filter, so that no lane needs a branch.
    masks = np.zeros((_PAETH + 1, LANES), np.int16)
    differences = np.zeros(LANES, np.int16)
    # The pixels of the last three steps; lane n's stands at n + 1, and at 0 the pixel above the uppermost lane.
    before, last, now = np.zeros(LANES + 1, np.int16), np.zeros(LANES + 1, np.int16), np.zeros(LANES + 1, np.int16)
    for top in range(0, height, LANES):
        lanes = min(LANES, height - top)
        masks[:] = 0
        for lane in range(lanes):
            masks[filtered[top + lane, 0], lane] = -1
        # Left of the image, and in a lane that has not begun, all is 0.
        before[:] = 0
        last[:] = 0
        for step in range(width + lanes - 1):
            # Lane n is at column step - n: these are within the image.
            within = max(0, step - width + 1), min(lanes, step + 1)
            last[0] = pixels[(top - 1) * stride + step] if top > 0 and step < width else 0
            _fetch(stored, top * (width + 1) + 1 + step, width, within, differences)
            _step(before, last, differences, masks, now)
            for lane in range(within[1], LANES):
                now[lane + 1] = 0
            _put(pixels, top * stride + step, stride - 1, within, now)
            before, last, now = last, now, before
