"""Undoes the filters of an 8-bit gray PNG. numba compiles it; it runs without the GIL, several times as fast as libpng.

A PNG stores the difference of each pixel from a prediction, which is made of the pixels to its left (a), above it (b)
and above left (c): section 9 of the PNG specification. So within a row every step waits for the step before, but the
next row can begin as soon as this one is a pixel ahead. Here `LANES` rows run side by side, each one pixel behind the
row above, as one vector of the processor.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

#: The number of 16-bit integers in one AVX-512 vector.
LANES: Final = 32
#: The number of the last filter.
_PAETH: Final = 4
#: Bytes in a line of the processor's cache.
_CACHE_LINE: Final = 64

#: numba's options: run without the GIL, and keep the compiled code on disk if `NUMBA_CACHE_DIR` names a folder.
COMPILED: Final = {"nogil": True, "error_model": "numpy", "cache": bool(numba.config.CACHE_DIR)}

_i16: Any = np.int16
#: An index that may be negative makes numba check whether it counts from the end.
_u64: Any = np.uint64
_Bytes = NDArray[np.uint8]
#: One number for each lane.
_Lanes = NDArray[np.int16]


def padded_image(height: int, width: int) -> NDArray[np.uint8]:
    """An empty array, uint8 (height, more than width), that `unfilter` fills quickly.

    Its rows are an odd number of cache lines apart. If that were a power of two, like the width of most radiographs,
    the pixels of all lanes would compete for one place in the processor's cache.
    """
    lines = width // _CACHE_LINE + 1
    return np.empty((height, _CACHE_LINE * (lines | 1)), np.uint8)


@numba.njit(**COMPILED)
def _read_differences(stored: _Bytes, at: int, stride: int, within: tuple[int, int], differences: _Lanes) -> None:
    """Read the differences of the lanes `within` the image; each lane is `stride` bytes behind the one above."""
    first, end = within
    if end - first == LANES:
        # A constant length lets the compiler unroll the loop.
        for lane in range(LANES):
            differences[lane] = stored[_u64(at) + _u64(lane) * _u64(stride)]
    else:
        for lane in range(first, end):
            differences[lane] = stored[_u64(at) + _u64(lane) * _u64(stride)]


@numba.njit(**COMPILED)
def _write_pixels(pixels: _Bytes, at: int, stride: int, within: tuple[int, int], now: _Lanes) -> None:
    """Write the pixels of the lanes `within` the image."""
    first, end = within
    if end - first == LANES:
        for lane in range(LANES):
            pixels[_u64(at) + _u64(lane) * _u64(stride)] = now[lane + 1]
    else:
        for lane in range(first, end):
            pixels[_u64(at) + _u64(lane) * _u64(stride)] = now[lane + 1]


@numba.njit(**COMPILED)
def _predict(before: _Lanes, last: _Lanes, differences: _Lanes, masks: NDArray[np.int16], now: _Lanes) -> None:
    """Compute one pixel of each lane. Every value is cast to 16 bits, or the compiler uses 64."""
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
    """Undo the filters of all rows.

    Args:
        filtered: uint8 (height, 1 + width): in each row its filter, 0 to 4, and its pixels' differences, modulo 256.
        image: uint8 (height, at least width); its first `width` columns are filled.
    """
    height, width, stride = filtered.shape[0], filtered.shape[1] - 1, image.shape[1]
    stored, pixels = filtered.reshape(-1), image.reshape(-1)
    # By filter and lane: all bits are set if the lane's row has that filter, so that no lane needs a branch.
    masks = np.zeros((_PAETH + 1, LANES), np.int16)
    differences = np.zeros(LANES, np.int16)
    # The pixels of the last three steps. Lane n's is at n + 1; at 0 is the pixel above the uppermost lane.
    before, last, now = np.zeros(LANES + 1, np.int16), np.zeros(LANES + 1, np.int16), np.zeros(LANES + 1, np.int16)
    for top in range(0, height, LANES):
        lanes = min(LANES, height - top)
        masks[:] = 0
        for lane in range(lanes):
            masks[filtered[top + lane, 0], lane] = -1
        # Left of the image, and in a lane that has not begun, pixels are 0.
        before[:] = 0
        last[:] = 0
        for step in range(width + lanes - 1):
            # Lane n is at column step - n; these lanes are within the image.
            within = max(0, step - width + 1), min(lanes, step + 1)
            last[0] = pixels[(top - 1) * stride + step] if top > 0 and step < width else 0
            _read_differences(stored, top * (width + 1) + 1 + step, width, within, differences)
            _predict(before, last, differences, masks, now)
            for lane in range(within[1], LANES):
                now[lane + 1] = 0
            _write_pixels(pixels, top * stride + step, stride - 1, within, now)
            before, last, now = last, now, before
