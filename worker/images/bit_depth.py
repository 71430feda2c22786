"""Converts 16 bits to 8, so that a radiograph gives the same pixels however its writer filled the 16 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError


def to_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return uint8 unchanged; of uint16 keep the upper 8 of the 8, 10, 12, 14 or 16 bits that its largest value needs.

    The docstring of `worker.images.pixels` says why.

    Raises:
        PermanentError: `unsupported`: the array has another type.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise PermanentError("unsupported", f"the image has {image.dtype} channels; only 1 to 16 bits are supported")
    used = max(8, int(image.max()).bit_length())
    # Detectors have an even number of bits.
    return (image >> (used + used % 2 - 8)).astype(np.uint8)
