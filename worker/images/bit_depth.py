"""From 16 bits to 8, the same radiograph giving the same pixels however its writer filled the 16."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError


def eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Give uint8 back as it is; cut uint16 to 8 of the bits that its greatest value needs: of 8, 10, 12, 14 or 16.

    Why so stands in `worker.images.pixels`.

    Raises:
        PermanentError: `unsupported`, any other type.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise PermanentError("unsupported", f"the image's channels are {image.dtype}, 1 to 16 bits are read")
    used = max(8, int(image.max()).bit_length())
    # Detectors have an even number of bits.
    return (image >> (used + used % 2 - 8)).astype(np.uint8)
