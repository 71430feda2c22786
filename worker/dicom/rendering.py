"""Turns stored values into the gray levels that a radiologist's screen would show, by one table over all values.

The order is that of DICOM PS3.3 C.11 and PS3.4 N.2: modality LUT or rescale, VOI LUT or window, polarity.
"""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from worker.dicom.frames import StoredValues


def render(values: StoredValues, dataset: Dataset, rendering: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Render a film.

    Args:
        values: as they are stored, (height, width).
        dataset: its header.
        rendering: `display`, `full_range` or `equalized`, see `worker.images.preprocessing.Preprocessing`.

    Returns:
        uint8 (height, width), and the codes of what the header contradicts.
    """
    raise NotImplementedError
