"""How vendors store a film: each habit stores the same gray levels in another way, and a screen shows them alike.

The formulas are the inverses of those of DICOM PS3.3 C.11.1 (rescaling) and C.11.2 (windows and VOI LUTs).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

#: Gray levels as a screen shows them, float64 (height, width) in 0..255, where 0 is black.
Gray: TypeAlias = NDArray[np.float64]
#: Stored values (height, width), and the elements that say how they are shown.
Stored: TypeAlias = tuple[NDArray[Any], dict[str, Any]]

_WHITE: Final = 255.0
#: The exponent of the VOI LUTs: a LUT that is not applied changes the film.
_LUT_GAMMA: Final = 0.8
_LUT_ENTRIES: Final = 2**12
#: The greatest value of GE's LUTs, which are declared to have 16 bits.
_GE_GREATEST: Final = 16_382
#: An unused bit, in which old devices stored an overlay.
_OVERLAY_BIT: Final = 1 << 15
_MONOCHROME1: Final[Mapping[str, Any]] = {
    "PhotometricInterpretation": "MONOCHROME1",
    "PresentationLUTShape": "INVERSE",
}


#: The transfer syntaxes, in the order in which films use them. Each can hold the values of the habit in its place.
SYNTAXES: Final = (
    *(uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.JPEG2000Lossless, uid.HTJ2K, uid.JPEGLSNearLossless),
    *(uid.JPEGLSLossless, uid.JPEGLossless, uid.JPEG2000, uid.HTJ2KLossless, uid.RLELossless, uid.JPEGExtended12Bit),
    *(uid.DeflatedExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.HTJ2KLosslessRPCL, uid.JPEGBaseline8Bit),
    uid.ExplicitVRBigEndian,
)
#: The only bits of some of them.
_SYNTAX_BITS: Final = {uid.JPEGBaseline8Bit: 8, uid.JPEGExtended12Bit: 12}
_UNCOMPRESSED: Final = tuple(syntax for syntax in SYNTAXES if not syntax.is_encapsulated)
#: Without those whose losses may lead out of the range of the values.
_WITHIN_RANGE: Final = tuple(syntax for syntax in SYNTAXES if syntax not in {uid.HTJ2K, uid.JPEGLSNearLossless})


@dataclass(frozen=True, kw_only=True)
class Habit:
    """One way to store a film."""

    #: Stands in the header as the manufacturer, so that results can be grouped by it.
    name: str
    store: Callable[[Gray], Stored]
    #: Keywords of elements that its headers lack.
    lacks: tuple[str, ...] = ()
    preamble: bool = True
    syntaxes: tuple[uid.UID, ...] = SYNTAXES

    def syntax(self, number: int, bits: int) -> uid.UID:
        """The transfer syntax of film `number`: the next of those that can hold its bits."""
        turn = number % len(SYNTAXES)
        possible = (one for one in SYNTAXES[turn:] + SYNTAXES[:turn] if one in self.syntaxes)
        return next(one for one in possible if _SYNTAX_BITS.get(one, bits) == bits)


def _full_range(bits: int, gray: Gray) -> Stored:
    values = np.rint(gray / _WHITE * (2**bits - 1))
    return values.astype(np.uint8 if bits == 8 else np.uint16), {"BitsStored": bits}


def _linear(bits: int, gray: Gray, *, center: float, width: float) -> Stored:
    """A window of function LINEAR, C.11.2.1.2.1. A negative center needs signed values."""
    values = np.rint((gray / _WHITE - 0.5) * (width - 1) + center - 0.5)
    return values.astype(np.int16 if center < 0 else np.uint16), _window(bits, center, width)


def _linear_exact(gray: Gray) -> Stored:
    """C.11.2.1.3.2."""
    center, width = 2000.0, 3600.0
    values = np.rint((gray / _WHITE - 0.5) * width + center).astype(np.uint16)
    return values, {**_window(12, center, width), "VOILUTFunction": "LINEAR_EXACT"}


def _sigmoid(gray: Gray) -> Stored:
    """C.11.2.1.3.1. Its ends are never reached, so the film's are moved inward by half a gray level."""
    center, width = 2048.0, 1300.0
    share = np.clip(gray / _WHITE, 0.002, 0.998)
    values = np.rint(center + width / 4 * np.log(share / (1 - share))).astype(np.uint16)
    return values, {**_window(12, center, width), "VOILUTFunction": "SIGMOID"}


def _three_windows(gray: Gray) -> Stored:
    """The first of several windows is the one that a screen shows at first."""
    values, header = _linear(10, gray, center=500.0, width=900.0)
    windows = {"WindowCenter": [500.0, 480.0, 520.0], "WindowWidth": [900.0, 600.0, 1200.0]}
    return values, {**header, **windows, "WindowCenterWidthExplanation": ["NORMAL", "HARDER", "SOFTER"]}


def _rescaled(gray: Gray) -> Stored:
    """A window over rescaled values, which are a quarter of the stored ones, minus 100."""
    slope, intercept, center, width = 0.25, -100.0, 400.0, 900.0
    values = np.rint((((gray / _WHITE - 0.5) * (width - 1) + center - 0.5) - intercept) / slope).astype(np.uint16)
    rescale = {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "US"}
    return values, {**_window(12, center, width), **rescale}


def _lut(gray: Gray, *, greatest: int, bits: int, decreasing: bool = False) -> Stored:
    """A VOI LUT over 12 bits of stored values. One of `decreasing` values has the film's negative stored."""
    curve = np.linspace(0, 1, _LUT_ENTRIES) ** _LUT_GAMMA
    values = np.rint((gray / _WHITE) ** (1 / _LUT_GAMMA) * (_LUT_ENTRIES - 1)).astype(np.uint16)
    if decreasing:
        curve, values = curve[::-1], (_LUT_ENTRIES - 1) - values
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [_LUT_ENTRIES, 0, bits])
    lut.add_new("LUTData", "US", np.rint(curve * greatest).astype(int).tolist())
    return values, {"BitsStored": 12, "VOILUTSequence": [lut]}


def _negative(store: Callable[[Gray], Stored], gray: Gray) -> Stored:
    """MONOCHROME1: a screen shows the output of window or LUT upside down."""
    values, header = store(_WHITE - gray)
    return values, {**header, **_MONOCHROME1}


def _overlay_in_high_bits(gray: Gray) -> Stored:
    values, header = _linear(12, gray, center=2048.0, width=4000.0)
    values[50:90, 50:400] |= _OVERLAY_BIT
    return values, header


def _window(bits: int, center: float, width: float) -> dict[str, Any]:
    return {"BitsStored": bits, "WindowCenter": center, "WindowWidth": width}


_PLAIN: Final = partial(_linear, 12, center=2048.0, width=4000.0)
#: The films of a data set use them in this order, again and again. The numbers of habits and transfer syntaxes have no
#: common divisor, so that all pairs occur.
HABITS: Final = (
    Habit(name="window", store=_PLAIN),
    Habit(
        name="inverse LUT",
        store=partial(_negative, partial(_lut, greatest=4095, bits=12)),
        syntaxes=_WITHIN_RANGE,
    ),
    Habit(name="three windows", store=_three_windows),
    Habit(name="14 bits", store=partial(_linear, 14, center=8000.0, width=15000.0)),
    Habit(name="inverse 15 bits", store=partial(_negative, partial(_linear, 15, center=16000.0, width=30000.0))),
    Habit(name="LUT to 16382", store=partial(_lut, greatest=_GE_GREATEST, bits=16), syntaxes=_WITHIN_RANGE),
    Habit(
        name="decreasing LUT",
        store=partial(_lut, greatest=4095, bits=12, decreasing=True),
        syntaxes=_WITHIN_RANGE,
    ),
    Habit(name="rescaled", store=_rescaled),
    Habit(name="no window", store=partial(_full_range, 12), syntaxes=_WITHIN_RANGE),
    Habit(name="inverse no window", store=partial(_negative, partial(_full_range, 10)), syntaxes=_WITHIN_RANGE),
    Habit(name="sigmoid", store=_sigmoid),
    Habit(name="exact window", store=_linear_exact),
    # Without a meta header, the two that a reader can tell from the content.
    Habit(
        name="no preamble",
        store=_PLAIN,
        preamble=False,
        syntaxes=(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian),
    ),
    Habit(name="no view", store=_PLAIN, lacks=("ViewPosition",)),
    Habit(name="8 bits", store=partial(_full_range, 8)),
    Habit(name="signed", store=partial(_linear, 16, center=-200.0, width=4000.0), syntaxes=_UNCOMPRESSED),
    Habit(name="overlay", store=_overlay_in_high_bits, syntaxes=_UNCOMPRESSED),
)
