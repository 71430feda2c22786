"""Turns stored values into the gray levels that a radiologist's screen would show, by one table over all values.

The order is that of DICOM PS3.3 C.11 and PS3.4 N.2: modality LUT or rescale, VOI LUT or window, polarity. A header may
say anything: what cannot be used is passed over, and noted.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from worker.dicom.dataset import number_of, text_of
from worker.dicom.frames import StoredValues
from worker.dicom.lookup_tables import VALUE_RANGE, read_lookup_table
from worker.dicom.stored_values import StoredRange, look_up, stored_range
from worker.dicom.window import VOI_LUT, mentions_window, window_of

#: The note of a window or VOI LUT that cannot be read, has no width, or gives one gray to all values of the film.
WINDOW_IGNORED: Final = "window_ignored"
#: The note of a PresentationLUTShape that contradicts the PhotometricInterpretation, which decides.
POLARITY: Final = "polarity"

_Notes = tuple[str, ...]
#: uint8, an entry for each number that can be stored.
_Table = NDArray[np.uint8]


def render(values: StoredValues, dataset: Dataset, rendering: str) -> tuple[NDArray[np.uint8], _Notes]:
    """Render a film.

    Args:
        values: as they are stored, (height, width). If they may be written to, the result takes their place.
        dataset: its header.
        rendering: `display`, `full_range` or `equalized`, see `worker.images.preprocessing.Preprocessing`.

    Returns:
        uint8 (height, width), and the codes of what the header contradicts.
    """
    stored, bit_notes = stored_range(values, dataset)
    # Numbers in a header may be as large as they like.
    with np.errstate(over="ignore"):
        table, notes = _TABLES[rendering](stored, dataset)
    flipped, polarity_notes = _polarized(table, dataset)
    if rendering == "equalized":
        image = look_up(values, stored.by_pattern(flipped))
        return cv2.equalizeHist(image, image).astype(np.uint8, copy=False), (*bit_notes, *polarity_notes)
    padded, padding_notes = _padded(flipped, stored, dataset)
    all_notes = (*bit_notes, *_range_notes(stored, dataset), *notes, *polarity_notes, *padding_notes)
    return look_up(values, padded), tuple(dict.fromkeys(all_notes))


def _display(stored: StoredRange, dataset: Dataset) -> tuple[_Table, _Notes]:
    """The first of VOI LUT, window and full range that gives the film more than one gray."""
    modality, notes = _modality_values(stored, dataset)
    for brightness, voi_notes in _ways_to_show(modality, dataset):
        notes = (*notes, *voi_notes)
        table = _quantized(brightness)
        if _varies(table[stored.used]):
            return table, notes
        notes = (*notes, WINDOW_IGNORED)
    return _quantized(_full_range(modality)), notes


def _ways_to_show(modality: NDArray[np.float64], dataset: Dataset) -> Iterator[tuple[NDArray[np.float64], _Notes]]:
    """What VOI LUT and window make of all modality values, 0..1, and notes; what is of no use becomes one gray.

    `worker.dicom.window.display_window` says why the VOI LUT comes first.
    """
    lut, notes = read_lookup_table(dataset, VOI_LUT)
    if lut is not None:
        contradicts = lut.bits != lut.declared_bits
        yield lut.look_up(modality) / ((1 << lut.bits) - 1), (*notes, *(VALUE_RANGE,) * contradicts)
    elif notes:
        yield np.zeros_like(modality), notes
    window = window_of(dataset)
    if window is not None and window.has_width:
        yield window.apply(modality), ()
    elif mentions_window(dataset):
        yield np.zeros_like(modality), ()


def _modality_values(stored: StoredRange, dataset: Dataset) -> tuple[NDArray[np.float64], _Notes]:
    """What the stored numbers mean, by a LUT or a linear function; the numbers themselves if neither is of use."""
    lut, notes = read_lookup_table(dataset, "ModalityLUTSequence")
    if lut is not None:
        values = lut.look_up(stored.numbers)
        if _varies(values[stored.used]):
            return values.astype(np.float64), (*notes, *(VALUE_RANGE,) * (lut.bits > lut.declared_bits))
        notes = (*notes, VALUE_RANGE)
    slope, intercept = number_of(dataset, "RescaleSlope"), number_of(dataset, "RescaleIntercept")
    numbers = stored.numbers.astype(np.float64)
    rescaled: NDArray[np.float64] = numbers * (1.0 if slope is None else slope) + (intercept or 0.0)
    if np.isfinite(np.ptp(rescaled)) and _varies(rescaled):
        return rescaled, notes
    return numbers, (*notes, VALUE_RANGE)


def _full_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    brightness: NDArray[np.float64] = (values - values.min()) / np.ptp(values)
    return brightness


def _full_range_table(stored: StoredRange, _dataset: Dataset) -> tuple[_Table, _Notes]:
    """The stored values without rescale and window, as torchxrayvision's `read_xray_dcm` has them."""
    return _quantized(_full_range(stored.numbers.astype(np.float64))), ()


def _stretched(stored: StoredRange, _dataset: Dataset) -> tuple[_Table, _Notes]:
    """The values of the film from its least to its greatest, cut to whole numbers.

    MIMIC-CXR-JPG was made so (Johnson et al. 2019, arXiv:1901.07042), and so was CheXpert (its authors' function
    `dcm2img`, public in QTIM-Lab/PXS-score); an inversion and `cv2.equalizeHist` follow. Both take padding for pixels.
    """
    shifted = (stored.numbers - stored.lowest).astype(np.float64)
    stretched = shifted / max(1, stored.highest - stored.lowest) * 255
    return np.clip(stretched, 0, 255).astype(np.uint8), ()


_TABLES: Final[Mapping[str, Callable[[StoredRange, Dataset], tuple[_Table, _Notes]]]] = {
    "display": _display,
    "full_range": _full_range_table,
    "equalized": _stretched,
}


def _quantized(brightness: NDArray[np.float64]) -> _Table:
    """0..1 in 256 equal steps: over the full range this cuts a value to its upper 8 bits, as 16-bit PNGs are cut."""
    return np.minimum(brightness * 256, 255).astype(np.uint8)


def _varies(values: NDArray[Any]) -> bool:
    return bool(values.min() != values.max())


def _polarized(table: _Table, dataset: Dataset) -> tuple[_Table, _Notes]:
    """In MONOCHROME1 the least value is white. PresentationLUTShape says the same again, so it is never obeyed too."""
    inverse = (text_of(dataset, "PhotometricInterpretation") or "").upper() == "MONOCHROME1"
    shape = (text_of(dataset, "PresentationLUTShape") or "").upper()
    contradicts = shape in ("IDENTITY", "INVERSE") and (shape == "INVERSE") != inverse
    return 255 - table if inverse else table, (POLARITY,) * contradicts


def _padded(table: _Table, stored: StoredRange, dataset: Dataset) -> tuple[_Table, _Notes]:
    """By pattern, with padding in black: after the polarity, or in MONOCHROME1 it would be white."""
    by_pattern: _Table = stored.by_pattern(table)
    given = number_of(dataset, "PixelPaddingValue")
    if given is None:
        return by_pattern, ()
    limit = number_of(dataset, "PixelPaddingRangeLimit")
    numbers, count = stored.numbers, 1 << stored.allocated
    least, greatest = int(numbers[0]), int(numbers[-1])
    # The header may have the sign wrong.
    low, high = sorted((int(end) - least) % count + least for end in (given, given if limit is None else limit))
    padded = np.where((numbers >= low) & (numbers <= high), 0, table).astype(np.uint8)
    if _varies(table[stored.used]) and not _varies(padded[stored.used]):
        return by_pattern, (VALUE_RANGE,)
    by_pattern = stored.by_pattern(padded)
    # Padding may lie outside the bits that are stored.
    by_pattern[max(low, greatest + 1) : max(high + 1, 0)] = 0
    return by_pattern, ()


def _range_notes(stored: StoredRange, dataset: Dataset) -> _Notes:
    """A note if the film has values beyond those that its header calls the least and the greatest."""
    least, greatest = (number_of(dataset, f"{which}ImagePixelValue") for which in ("Smallest", "Largest"))
    if least is None or greatest is None or least >= greatest or number_of(dataset, "PixelPaddingValue") is not None:
        return ()
    return () if least <= stored.lowest and stored.highest <= greatest else (VALUE_RANGE,)
