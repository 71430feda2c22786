"""Converts 16 bits to 8, so that a radiograph gives the same pixels however its writer filled the 16 bits."""

from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError
from worker.images.preprocessing import Preprocessing

#: The note on an image whose depth may be another than the one that was found.
DEPTH_UNSURE: Final = "depth_unsure"

#: Bits of detectors, and the 8 and 16 of processed films. OpenI's detectors have 10, 12, 14 and 15.
_DEPTHS: Final = (8, 10, 12, 14, 15, 16)
#: The share of pixels that cannot decide the depth, chosen by experiment, see docs/decisions.md.
_FEW: Final = 0.01
#: Only a detector of 16 bits measures this value. In other films it is a defect, a marker or a border.
_WHITE: Final = 65_535


def to_uint8(image: NDArray[Any], rule: Preprocessing) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return uint8 unchanged; of uint16 keep the upper 8 of the bits that the image uses. Greater values become white.

    The docstring of `worker.images.pixels` says why.

    Returns:
        uint8 of the same shape, and `DEPTH_UNSURE` where the image does not tell clearly how many bits it uses.

    Raises:
        PermanentError: `unsupported`: the array has another type.
    """
    if image.dtype == np.uint8:
        return image, ()
    if image.dtype != np.uint16:
        raise PermanentError("unsupported", f"the image has {image.dtype} channels; only 1 to 16 bits are supported")
    bits, is_unsure = _depth(image, rule)
    gray = cv2.LUT(image, _upper_bits(bits)).astype(np.uint8, copy=False)
    return gray, (DEPTH_UNSURE,) if is_unsure else ()


@lru_cache(maxsize=16)
def _upper_bits(bits: int) -> NDArray[np.uint8]:
    """By value of 16 bits: its upper 8 of `bits` bits, and 255 for what does not fit them."""
    return (np.minimum(np.arange(1 << 16), (1 << bits) - 1) >> (bits - 8)).astype(np.uint8)


def _depth(image: NDArray[np.uint16], rule: Preprocessing) -> tuple[int, bool]:
    """How many bits an image uses, and whether that is unsure."""
    if rule.bits is not None:
        return rule.bits, False
    if rule.rule == 1:
        used = max(8, int(image.max()).bit_length())
        return used + used % 2, False
    return _robust_depth(image)


def _robust_depth(image: NDArray[np.uint16]) -> tuple[int, bool]:
    """The least depth that all but a few pixels fit; unsure if any pixel, or slightly other values, contradict it."""
    few, greatest = _FEW * image.size, int(image.max())

    def count_from(limit: int) -> int:
        return int(np.count_nonzero(image >= limit)) if limit <= greatest else 0

    white = count_from(_WHITE)
    limits = [1 << bits for bits in _DEPTHS[:-1]]
    beyond = [count_from(limit) - white for limit in limits]
    place = next((place for place, count in enumerate(beyond) if count <= few), len(beyond))
    is_contradicted = place < len(beyond) and (beyond[place] > 0 or white > few)
    # With a quarter of the pixels that decided, or with values smaller by a fifth, the film would fit the depth below.
    is_barely_reached = place > 0 and (
        beyond[place - 1] <= 4 * few or count_from(limits[place - 1] * 5 // 4) - white <= few
    )
    return _DEPTHS[place], is_contradicted or is_barely_reached
