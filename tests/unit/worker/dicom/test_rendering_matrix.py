"""The rendering beside two independent judges, highdicom and pydicom, over all kinds of polarity, window and depth."""

from itertools import product

import highdicom
import numpy as np
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from tests.support.dicom_luts import curve, lut_sequence
from trainer.phantoms.dicom_file import LOSSLESS_SYNTAXES, SYNTAXES, dicom_file
from worker.dicom.dataset import parse_dicom
from worker.dicom.frames import read_frame
from worker.dicom.rendering import POLARITY, VALUE_RANGE, WINDOW_IGNORED, render

POLARITIES = ("MONOCHROME1", "MONOCHROME2")
#: Bits stored, and the type that they are stored in.
FORMATS = (
    *((8, "uint8"), (10, "uint16"), (12, "uint16"), (14, "uint16"), (15, "uint16"), (16, "uint16")),
    *((8, "int8"), (12, "int16"), (16, "int16")),
)
WAYS = ("window", "lut", "both", "neither", "several", "SIGMOID", "LINEAR_EXACT")


def least_of(bits, kind):
    return 0 if kind.startswith("u") else -(1 << bits - 1)


def film(bits, kind="uint16"):
    """Values from the least to the greatest that can be stored: all, or 4,200 of them."""
    least = least_of(bits, kind)
    return np.linspace(least, least + (1 << bits) - 1, 60 * 70).astype(kind).reshape(60, 70)


def way_header(way, bits, kind="uint16", syntax=None):
    span, least = 1 << bits, least_of(bits, kind)
    window = {"WindowCenter": least + 0.45 * span, "WindowWidth": 0.6 * span}
    several = {"WindowCenter": [least + span // 3, 1], "WindowWidth": [span // 4, 2]}
    # highdicom cannot read 65,536 entries, which a header writes as 0.
    entries = min(span, 65535)
    data = curve(entries, 65535).astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    lut = {"VOILUTSequence": lut_sequence(data, first=least, entries=entries)}
    functions = {name: {**window, "VOILUTFunction": name} for name in ("SIGMOID", "LINEAR_EXACT")}
    headers = {"window": window, "lut": lut, "both": {**window, **lut}, "neither": {}, "several": several, **functions}
    return {"BitsStored": bits, **headers[way]}


def parsed(values, **header):
    return parse_dicom(dicom_file(values, **header))


def rendered(values, dataset, rendering="display"):
    return render(values.copy(), dataset, rendering)


def by_highdicom(dataset):
    """0..255 where highdicom finds a window or VOI LUT, otherwise modality values."""
    return highdicom.Image.from_dataset(dataset).get_frame(
        1, apply_real_world_transform=False, apply_voi_transform=None, voi_output_range=(0.0, 255.0)
    )


def judged_gray(dataset, way, bits, kind):
    """0..255, by highdicom."""
    if way != "neither":
        return by_highdicom(dataset)
    # The standard leaves the gray levels to the viewer; here the least value is black and the greatest white.
    return (by_highdicom(dataset) - least_of(bits, kind)) / ((1 << bits) - 1) * 255


def by_pydicom(values, dataset, least, greatest):
    """0..255, of a film whose window or VOI LUT gives values from `least` to `greatest`."""
    shown = apply_voi_lut(apply_modality_lut(values, dataset), dataset)
    gray = (shown.astype(np.float64) - least) / (greatest - least) * 255
    return 255 - gray if dataset.PhotometricInterpretation == "MONOCHROME1" else gray


def assert_within_one(ours, judged):
    assert np.abs(ours.astype(np.float64) - judged).max() <= 1


@pytest.mark.parametrize(("bits", "kind"), FORMATS)
@pytest.mark.parametrize(("polarity", "way"), list(product(POLARITIES, WAYS)))
def test_rendering_is_within_one_gray_level_of_highdicom(polarity, way, bits, kind):
    values = film(bits, kind)
    dataset = parsed(values, PhotometricInterpretation=polarity, **way_header(way, bits, kind))

    image, notes = rendered(values, dataset)

    assert_within_one(image, judged_gray(dataset, way, bits, kind))
    assert np.ptp(image) > 200
    assert notes == ()


def assert_same_in(syntax, polarity, way, bits, kind):
    """A film in this encoding is rendered as the judge renders the values that were read from it."""
    values = film(bits, kind)
    plain = {"PhotometricInterpretation": polarity, **way_header(way, bits, kind)}
    encoded = dicom_file(values, syntax=syntax, **{**plain, **way_header(way, bits, kind, syntax)})
    dataset = parse_dicom(encoded)
    read = read_frame(dataset)
    if syntax in LOSSLESS_SYNTAXES or kind.startswith("int"):
        # An encoding may leave the bits above those stored, and above the sign, as it likes.
        wide = 8 * values.itemsize - bits
        read = ((read.astype(kind) << wide) >> wide).astype(kind)
    # A lossy one may exceed the greatest value.
    read = np.minimum(read, values.max())
    if syntax in LOSSLESS_SYNTAXES:
        assert np.array_equal(read, values)

    image, _ = render(read_frame(dataset), dataset, "display")

    assert_within_one(image, judged_gray(parsed(read, **plain), way, bits, kind))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize(("polarity", "way"), [("MONOCHROME1", "lut"), ("MONOCHROME2", "window")])
def test_a_film_in_any_order_of_bytes_is_within_one_gray_level_of_highdicom(syntax, polarity, way):
    assert_same_in(syntax, polarity, way, 12, "int16")


@pytest.mark.slow
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize(("bits", "kind"), FORMATS)
def test_the_whole_matrix_in_any_encoding_is_within_one_gray_level_of_highdicom(syntax, bits, kind):
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and bits > 12:
        pytest.skip("a sequential JPEG holds at most 12 bits")
    for polarity, way in product(POLARITIES, WAYS):
        assert_same_in(syntax, polarity, way, bits, kind)


@pytest.mark.parametrize(("bits", "kind"), FORMATS)
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (0.25, 3.5), (2, 1000), (-1, 4095)])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_is_applied_to_rescaled_values_as_pydicom_does(bits, kind, slope, intercept, function):
    values = film(bits, kind)
    rescaled = values.astype(np.float64) * slope + intercept
    low, high = sorted((rescaled.min(), rescaled.max()))
    window = {"WindowCenter": round(low + 0.4 * (high - low), 3), "WindowWidth": round(0.5 * (high - low), 3)}
    rescale = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    dataset = parsed(values, BitsStored=bits, VOILUTFunction=function, **window, **rescale)

    image, notes = rendered(values, dataset)

    # pydicom gives the ends of the range in the order of the slope.
    assert_within_one(image, by_pydicom(values, dataset, rescaled[0, 0], rescaled[-1, -1]))
    assert notes == ()


@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("way", ["window", "lut", "neither"])
def test_a_modality_lut_comes_before_window_and_voi_lut(polarity, way):
    """Of 12 bits, it makes the optical densities of 16 bits that window and VOI LUT mean."""
    values = film(12)
    modality = {"ModalityLUTSequence": lut_sequence(curve(4096, 65535)[::-1])}
    header = {**way_header(way, 16), "BitsStored": 12}
    dataset = parsed(values, PhotometricInterpretation=polarity, **modality, **header)

    image, notes = rendered(values, dataset)

    assert_within_one(image, by_pydicom(values, dataset, 0, 65535))
    assert notes == ()


def test_a_voi_lut_may_have_65536_entries_which_its_header_writes_as_0():
    values = film(16)
    dataset = parsed(values, VOILUTSequence=lut_sequence(curve(65536, 65535)))

    image, notes = rendered(values, dataset)

    assert_within_one(image, by_pydicom(values, dataset, 0, 65535))
    assert notes == ()


# Where the rendering differs from a judge on purpose.


@pytest.mark.parametrize(("polarity", "shape"), [("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")])
def test_a_presentation_lut_shape_that_contradicts_the_polarity_is_not_obeyed(polarity, shape):
    """highdicom obeys the shape alone. The standard allows only the other two pairs, so one element is wrong.

    In the 7,469 films of OpenI, INVERSE occurs only together with MONOCHROME1.
    """
    values = film(12)
    header = {"PhotometricInterpretation": polarity, **way_header("window", 12)}
    plain, contradicting = parsed(values, **header), parsed(values, PresentationLUTShape=shape, **header)

    image, notes = rendered(values, contradicting)

    assert np.array_equal(image, rendered(values, plain)[0])
    assert_within_one(image, 255 - by_highdicom(contradicting))
    assert notes == (POLARITY,)


@pytest.mark.parametrize(("polarity", "shape"), [("MONOCHROME2", "IDENTITY"), ("MONOCHROME1", "INVERSE")])
def test_a_film_is_flipped_once_where_the_header_says_it_twice(polarity, shape):
    values = film(12)
    header = {"PhotometricInterpretation": polarity, "PresentationLUTShape": shape, **way_header("window", 12)}
    dataset = parsed(values, **header)

    image, notes = rendered(values, dataset)

    assert_within_one(image, by_highdicom(dataset))
    assert notes == ()


def test_a_narrow_linear_window_is_as_wide_as_the_standard_says_after_a_rescale():
    """highdicom takes 1 from the width in stored values, PS3.3 C.11.2.1.2.1 in modality values; pydicom follows it."""
    values = film(12)
    dataset = parsed(values, BitsStored=12, RescaleSlope=100, RescaleIntercept=0, WindowCenter=200000, WindowWidth=900)

    image, _ = rendered(values, dataset)

    assert_within_one(image, by_pydicom(values, dataset, 0, 409500))
    assert np.abs(image - by_highdicom(dataset)).max() > 1


def test_a_voi_lut_spans_the_bits_that_its_greatest_entry_needs():
    """GE declares 16 bits where the greatest entry is 16,382: by those bits, as pydicom has it, the film is dark.

    highdicom stretches a LUT to its own least and greatest entry, which agrees here; a LUT that is dark by intention
    would not stay so.
    """
    values = film(12)
    dataset = parsed(values, BitsStored=12, VOILUTSequence=lut_sequence(curve(4096, 16382)))
    dim = parsed(values, BitsStored=12, VOILUTSequence=lut_sequence(curve(4096, 16382) + 8000, bits=15))

    image, notes = rendered(values, dataset)

    assert_within_one(image, by_highdicom(dataset))
    assert by_pydicom(values, dataset, 0, 65535).max() < 64
    assert notes == (VALUE_RANGE,)
    assert rendered(values, dim)[0].min() == 8000 >> 7


def test_a_window_without_width_shows_the_full_range_instead():
    """highdicom divides by its width, and pydicom refuses it."""
    values = film(12)
    header = way_header("neither", 12)

    image, notes = rendered(values, parsed(values, WindowCenter=2048, WindowWidth=0, **header))

    assert np.array_equal(image, rendered(values, parsed(values, **header))[0])
    assert notes == (WINDOW_IGNORED,)
