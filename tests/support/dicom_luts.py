"""Makes lookup tables for DICOM headers."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def lut_sequence(data, *, first=0, bits=16, entries=None):
    """A sequence of one LUT: `data` are its entries, or bytes to store as they are, and `entries` what it declares."""
    item = Dataset()
    count = len(data) if entries is None else entries
    item.LUTDescriptor = [count % 65536, first, bits]
    item.LUTData = data if isinstance(data, bytes) else np.asarray(data).astype("<u2").tobytes()
    return Sequence([item])


def curve(entries, greatest):
    """Entries of a LUT that rise from 0 to `greatest`, as vendors' curves do: slowly at the ends."""
    rise = 1 / (1 + np.exp(-8 * (np.arange(entries) / (entries - 1) - 0.5)))
    return np.rint((rise - rise[0]) / (rise[-1] - rise[0]) * greatest).astype(np.uint16)
