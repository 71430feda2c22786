"""Reads the stored values of a film: finds its frame, decodes it, and believes no pixel of a damaged one."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

#: uint8, int8, uint16 or int16 (height, width), as they are stored: high bits are not masked yet.
StoredValues: TypeAlias = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.uint16] | NDArray[np.int16]


def frame_size(dataset: FileDataset) -> tuple[int, int]:
    """Width and height that a header claims, for the limit of pixels.

    Raises:
        PermanentError: `not_image`, the file holds no pixels; `unsupported`, it has several frames or colour;
            `truncated`, the header contradicts itself.
    """
    raise NotImplementedError


def read_frame(dataset: FileDataset) -> StoredValues:
    """Decode the one frame of a film, completely or not at all.

    Raises:
        PermanentError: `unsupported` or `truncated`.
    """
    raise NotImplementedError
