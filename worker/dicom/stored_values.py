"""Tells which whole numbers the stored values of a film are (PS3.5 section 8), and looks them all up in one table."""

from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import HTJ2K, JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from worker.dicom.dataset import number_of, text_of
from worker.dicom.frames import StoredValues
from worker.dicom.lookup_tables import VALUE_RANGE

#: The note of bits set outside those that the header declares, or of a declaration that cannot be true.
HIGH_BITS: Final = "high_bits"

_LOSSY: Final = frozenset((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K))
#: Values whose results are made apart before they take the place of half of these.
_FIRST_PART: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class StoredRange:
    """How a film's values are stored, and which of them it has.

    A pattern is a value as unsigned bits. Its number is in the lowest `bits` of these; the others are masked. But a
    lossy encoding may exceed the greatest number a little, and then masking would turn white to black.
    """

    #: 8 or 16.
    allocated: int
    bits: int
    signed: bool
    #: Whether a pattern beyond the greatest number means this number.
    clips: bool
    #: The least and greatest number that occurs in the film.
    lowest: int
    highest: int

    @property
    def numbers(self) -> NDArray[np.int32]:
        """All numbers that can be stored, ascending, int32 (2 ** bits,)."""
        return np.arange(1 << self.bits, dtype=np.int32) - (1 << self.bits - 1 if self.signed else 0)

    @property
    def used(self) -> slice:
        """Those from the least to the greatest that occurs, as part of `numbers`."""
        least = int(self.numbers[0])
        return slice(self.lowest - least, self.highest - least + 1)

    def by_pattern(self, table: NDArray[Any]) -> NDArray[Any]:
        """A table that has an entry for each number, (2 ** bits,), as one for each pattern, (2 ** allocated,)."""
        if self.clips:
            return np.pad(table, (0, (1 << self.allocated) - table.size), "edge")
        # Patterns of negative numbers come last.
        ordered = np.roll(table, table.size // 2) if self.signed else table
        return np.tile(ordered, 1 << (self.allocated - self.bits))


def stored_range(values: StoredValues, dataset: Dataset) -> tuple[StoredRange, tuple[str, ...]]:
    """Find out how values, (height, width), are stored; and the notes on what contradicts the header."""
    allocated = values.itemsize * 8
    bits = int(number_of(dataset, "BitsStored") or 0)
    plausible = 1 <= bits <= allocated
    bits = bits if plausible else allocated
    signed = np.issubdtype(values.dtype, np.signedinteger)
    low, high = (int(extreme) for extreme in cv2.minMaxLoc(values)[:2])
    clips = not signed and high >= 1 << bits and _is_lossy(dataset)
    stored = StoredRange(allocated=allocated, bits=bits, signed=signed, clips=clips, lowest=low, highest=high)
    is_exact = stored.numbers[0] <= low and high <= stored.numbers[-1]
    if not is_exact:
        stored = _masked(stored, values)
    if clips:
        return stored, (VALUE_RANGE,)
    # Without a sign, the bits above those stored must be 0. With one, they repeat it in some files and are 0 in others.
    fits = -(1 << bits - 1) * signed <= low and high < 1 << bits
    return stored, () if plausible and fits else (HIGH_BITS,)


def look_up(values: StoredValues, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Look up values, (height, width), by their patterns.

    If the values may be written to, the results take the place of their first half: a large detector's film is never in
    memory twice.
    """
    patterns = _patterns(values)
    if values.itemsize == 1 or not (values.flags.writeable and values.flags.c_contiguous):
        return cv2.LUT(patterns, table).astype(np.uint8, copy=False)
    image = patterns.reshape(-1).view(np.uint8)[: values.size].reshape(values.shape)
    height, width = values.shape
    end = min(_FIRST_PART // width + 1, height)
    image[:end] = cv2.LUT(patterns[:end], table)
    while end < height:
        # The results of as many rows as were looked up before end where the first of these rows begins.
        rows = slice(end, min(2 * end, height))
        cv2.LUT(patterns[rows], table, image[rows])
        end = rows.stop
    return image


def _patterns(values: StoredValues) -> NDArray[np.uint8] | NDArray[np.uint16]:
    return values.view(np.uint8) if values.itemsize == 1 else values.view(np.uint16)


def _is_lossy(dataset: Dataset) -> bool:
    return text_of(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID") in _LOSSY


def _masked(stored: StoredRange, values: StoredValues) -> StoredRange:
    """With the extremes of the numbers that are left when the other bits are masked, or clipped."""
    patterns = _patterns(values)
    count = 1 << stored.allocated
    occurs = cv2.calcHist([patterns], [0], None, [count], [0, count]).reshape(-1) > 0
    numbers = stored.by_pattern(stored.numbers)[occurs]
    return replace(stored, lowest=int(numbers.min()), highest=int(numbers.max()))
