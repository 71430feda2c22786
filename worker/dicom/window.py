"""Reads the window of a DICOM header: which modality values are spread over the gray levels (PS3.3 C.11.2.1)."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from worker.dicom.dataset import number_of, text_of
from worker.dicom.lookup_tables import read_lookup_table

VOI_LUT: Final = "VOILUTSequence"

_LINEAR: Final = "LINEAR"
_FUNCTIONS: Final = frozenset((_LINEAR, "LINEAR_EXACT", "SIGMOID"))


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window, with or without a width."""

    center: float
    width: float
    #: `LINEAR`, `LINEAR_EXACT` or `SIGMOID`.
    function: str

    @property
    def has_width(self) -> bool:
        """Whether the standard allows this width."""
        return self.width >= 1 if self.function == _LINEAR else self.width > 0

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map modality values to 0..1, the brightness of MONOCHROME2, by a window that has a width."""
        if self.function == "SIGMOID":
            # Beyond 700 the exponential would overflow; the result is 0 or 1 long before.
            return 1 / (1 + np.exp(np.clip(-4 * (values - self.center) / self.width, -700, 700)))
        # LINEAR counts whole values, from the middle of the first to that of the last.
        shift, width = (0.5, self.width - 1) if self.function == _LINEAR else (0.0, self.width)
        distance = values - (self.center - shift)
        if width == 0:
            return (distance > 0).astype(np.float64)
        return np.clip(distance / width + 0.5, 0, 1)


def window_of(dataset: Dataset) -> Window | None:
    """The first window in a header, with or without a width; None if there is none that can be read."""
    center, width = (number_of(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    function = (text_of(dataset, "VOILUTFunction") or _LINEAR).upper()
    return Window(center=center, width=width, function=function if function in _FUNCTIONS else _LINEAR)


def display_window(dataset: Dataset) -> Window | None:
    """The window that `display` would use if it has a width; None if there is none, or a VOI LUT takes its place.

    Where a header has both, PS3.3 C.11.2 lets the viewer choose. The VOI LUT is the curve that the vendor made for the
    film, and the window is what is left to viewers without LUTs; pydicom, highdicom, fo-dicom and cornerstone choose
    the LUT too.
    """
    return None if read_lookup_table(dataset, VOI_LUT)[0] else window_of(dataset)


def mentions_window(dataset: Dataset) -> bool:
    """Whether a header has any content, readable or not, where a window belongs."""
    return any(_has_content(dataset.get_item(keyword)) for keyword in ("WindowCenter", "WindowWidth"))


def _has_content(element: Any) -> bool:
    value = None if element is None else element.value
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return value is not None and text.strip(" \0") != ""
