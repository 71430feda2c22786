"""From 16 bits to 8, the same radiograph giving the same pixels however its writer filled the 16."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError


def eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Give uint8 back as it is; cut uint16 by its greatest value: up to 255 by 0 bits, up to 4095 by 4, else by 8.

    Why so stands in `worker.pixels`.

    Raises:
        PermanentError: `unsupported`, any other type.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise PermanentError("unsupported", f"the image's channels are {image.dtype}, 1 to 16 bits are read")
    top = image.max()
    shift = 0 if top <= 0xFF else 4 if top <= 0xFFF else 8
    return (image >> shift).astype(np.uint8)
