"""Reads the lookup tables in a DICOM header: modality LUTs and VOI LUTs, which share one form (PS3.3 C.11.1.1)."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from worker.dicom.dataset import DAMAGE_ERRORS, numbers_of

#: The note of a table that has another number of entries than its header declares, or none that can be read.
LUT_LENGTH: Final = "lut_length"
#: The note of values outside the range that the header declares for them.
VALUE_RANGE: Final = "value_range"

_WORDS: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class LookupTable:
    """Maps consecutive whole numbers."""

    #: uint16 (entries,), not all equal.
    data: NDArray[np.uint16]
    #: The 16 bits of the first number that is mapped; the header does not always tell whether they have a sign.
    first: int
    #: Bits per entry, as the header declares them.
    declared_bits: int

    @property
    def bits(self) -> int:
        """Bits that the greatest entry needs.

        Vendors declare more, as 16 where the greatest is 16,382, or fewer. By the declared bits such films would come
        out black or white, so viewers do not use them (cornerstone's `generateNonLinearVOILUT`).
        """
        return int(self.data.max()).bit_length()

    def look_up(self, numbers: NDArray[Any]) -> NDArray[np.uint16]:
        """Map numbers of any shape, rounded to whole ones; those outside get the first or the last entry."""
        # Where no number is negative, the first one mapped is not either.
        first = self.first - _WORDS if self.first >= _WORDS // 2 and numbers.min() < 0 else self.first
        found: NDArray[np.uint16] = self.data[np.clip(np.rint(numbers - first), 0, self.data.size - 1).astype(np.int32)]
        return found


def read_lookup_table(dataset: Dataset, keyword: str) -> tuple[LookupTable | None, tuple[str, ...]]:
    """Read the first table in a sequence of a header.

    Returns:
        The table, and notes. Without notes, None means that there is no table; with notes, that it is of no use.
    """
    try:
        sequence = dataset.get(keyword)
        return _read_item(sequence[0], dataset) if sequence else (None, ())
    except DAMAGE_ERRORS:
        return None, (LUT_LENGTH,)


def _read_item(item: Dataset, dataset: Dataset) -> tuple[LookupTable | None, tuple[str, ...]]:
    entries, first, bits = (int(number) for number in numbers_of(item, "LUTDescriptor")[:3])
    # An empty table has 65,536 entries, for their number has 16 bits. What has a sign here may have been read without.
    entries = entries % _WORDS or _WORDS
    data = _unpacked(_words(item, dataset), entries, bits)
    # Packed bytes are filled up to an even number.
    notes = () if entries <= data.size <= entries + 1 else (LUT_LENGTH,)
    data = data[:entries]
    if data.min() == data.max():
        return None, (*notes, VALUE_RANGE)
    return LookupTable(data=data, first=first % _WORDS, declared_bits=bits), notes


def _words(item: Dataset, dataset: Dataset) -> NDArray[np.uint16]:
    """The entries as 16-bit words. Their bytes are taken as they are in the file: a list of 65,536 takes 10 ms."""
    element = item.get_item("LUTData")
    value = element.value
    if not isinstance(value, bytes):
        return (np.atleast_1d(np.asarray(value, np.int64)) % _WORDS).astype(np.uint16)
    # pydicom leaves the order of the bytes in OW as it is in the file.
    little = dataset.original_encoding[1] is not False
    if isinstance(element, RawDataElement):
        little = element.is_little_endian
    return np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little else ">u2").astype(np.uint16)


def _unpacked(words: NDArray[np.uint16], entries: int, bits: int) -> NDArray[np.uint16]:
    """The entries; those of 8 bits may be stored in pairs, the first in the lower half of the word."""
    if bits > 8 or entries == 1 or words.size > (entries + 1) // 2:
        return words
    return words.astype("<u2").view(np.uint8).astype(np.uint16)
