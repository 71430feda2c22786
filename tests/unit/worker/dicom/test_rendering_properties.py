"""What holds for every film and every header."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from worker.dicom.rendering import render

NUMBERS = st.one_of(
    st.integers(-70000, 70000), st.floats(), st.sampled_from([None, "", "wide", b"\0\1", [], [2000, "x"], [1, 2, 3]])
)
KINDS = st.sampled_from(["uint8", "int8", "uint16", "int16"])
FILMS = KINDS.flatmap(lambda kind: arrays.arrays(kind, st.tuples(st.integers(1, 9), st.integers(1, 9))))
RENDERINGS = st.sampled_from(["display", "full_range", "equalized"])
WORDS = st.one_of(st.lists(st.integers(0, 65535), max_size=40), st.binary(max_size=80), st.none(), st.just("text"))
POLARITIES = st.sampled_from(["MONOCHROME1", "MONOCHROME2", "", None, "RGB"])
SHAPES = st.sampled_from(["IDENTITY", "INVERSE", "", None, 7])
FUNCTIONS = st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"])
ODD_FUNCTIONS = st.one_of(FUNCTIONS, st.sampled_from(["", None, "CURVE", 5]))
#: Headers with a window and a rescale that rises.
WINDOWS = st.fixed_dictionaries(
    {
        "VOILUTFunction": FUNCTIONS,
        "WindowCenter": st.integers(-70000, 70000).map(lambda number: number / 8),
        "WindowWidth": st.integers(0, 70000).map(lambda number: number / 8),
        "RescaleSlope": st.integers(1, 1000).map(lambda number: number / 100),
        "RescaleIntercept": st.integers(-5000, 5000),
    }
)

#: By keyword: the type under which a value is set without any check, and the values.
ELEMENTS = {
    "BitsStored": ("US", NUMBERS),
    "PixelPaddingValue": ("SS", NUMBERS),
    "PixelPaddingRangeLimit": ("US", NUMBERS),
    "SmallestImagePixelValue": ("US", NUMBERS),
    "LargestImagePixelValue": ("US", NUMBERS),
    "RescaleSlope": ("DS", NUMBERS),
    "RescaleIntercept": ("DS", NUMBERS),
    "WindowCenter": ("DS", NUMBERS),
    "WindowWidth": ("DS", NUMBERS),
    "VOILUTFunction": ("CS", ODD_FUNCTIONS),
    "PhotometricInterpretation": ("CS", POLARITIES),
    "PresentationLUTShape": ("CS", SHAPES),
}


def with_element(dataset, keyword, vr, value):
    """Set a value as it is: pydicom checks what is set the usual way, and a file may hold anything."""
    element = DataElement(keyword, vr, "")
    element._value = value
    dataset[keyword] = element


@st.composite
def luts(draw):
    item = Dataset()
    if draw(st.booleans()):
        with_element(item, "LUTDescriptor", "US", draw(st.lists(st.integers(-70000, 70000), max_size=4)))
    if draw(st.booleans()):
        with_element(item, "LUTData", "OW", draw(WORDS))
    return Sequence([item] * draw(st.integers(0, 2)))


@st.composite
def headers(draw):
    dataset = Dataset()
    for keyword, (vr, values) in ELEMENTS.items():
        if draw(st.booleans()):
            with_element(dataset, keyword, vr, draw(values))
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        if draw(st.booleans()):
            setattr(dataset, keyword, draw(luts()))
    return dataset


def plain(**elements):
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


@given(FILMS, headers(), RENDERINGS)
def test_no_header_stops_a_film_from_being_rendered(values, dataset, rendering):
    image, notes = render(values.copy(), dataset, rendering)

    assert image.shape == values.shape
    assert image.dtype == np.uint8
    assert len(set(notes)) == len(notes)
    assert all("," not in note for note in notes)


@given(FILMS, headers(), st.sampled_from(["display", "full_range"]))
def test_monochrome_1_is_255_minus_monochrome_2_wherever_there_is_no_padding(values, dataset, rendering):
    for keyword in ("PixelPaddingValue", "PresentationLUTShape"):
        dataset.pop(keyword, None)
    images = []
    for polarity in ("MONOCHROME1", "MONOCHROME2"):
        dataset.PhotometricInterpretation = polarity
        images.append(render(values.copy(), dataset, rendering)[0])

    assert np.array_equal(images[0], 255 - images[1])


@given(st.integers(8, 16), st.sampled_from(["uint16", "int16"]), WINDOWS)
def test_a_greater_value_is_never_darker_through_a_window(bits, kind, window):
    least = 0 if kind == "uint16" else -(1 << bits - 1)
    values = np.arange(least, least + (1 << bits)).astype(kind).reshape(1, -1)

    image, _ = render(values, plain(BitsStored=bits, PhotometricInterpretation="MONOCHROME2", **window), "display")

    assert (np.diff(image[0].astype(int)) >= 0).all()
    assert image[0, -1] > image[0, 0]
