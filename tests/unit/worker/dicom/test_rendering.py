"""What becomes of values and headers as vendors write them."""

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.support.dicom_luts import curve, lut_sequence
from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.dataset import parse_dicom
from worker.dicom.lookup_tables import LUT_LENGTH, VALUE_RANGE, read_lookup_table
from worker.dicom.rendering import WINDOW_IGNORED, render
from worker.dicom.stored_values import HIGH_BITS
from worker.dicom.window import display_window


def ramp(bits=12, kind="uint16"):
    """All values that can be stored, ascending."""
    least = 0 if kind.startswith("u") else -(1 << bits - 1)
    return np.arange(least, least + (1 << bits)).astype(kind).reshape(64, -1)


def header(**elements):
    dataset = Dataset()
    for keyword, value in {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME2", **elements}.items():
        setattr(dataset, keyword, value)
    return dataset


def rendered(values, rendering="display", **elements):
    return render(values.copy(), header(**elements), rendering)


@pytest.mark.parametrize("bits", range(1, 17))
def test_the_full_range_keeps_the_upper_8_bits_as_16_bit_pngs_do(bits):
    values = np.arange(1 << bits, dtype=np.uint16).reshape(1, -1)

    image, _ = rendered(values, BitsStored=bits)

    wide = values.astype(np.int64) * 65535 // ((1 << bits) - 1)
    assert np.array_equal(image, values >> (bits - 8) if bits >= 8 else wide >> 8)


def test_values_of_8_bits_without_a_window_stay_as_they_are():
    values = ramp(8, "uint8")

    assert np.array_equal(rendered(values, BitsStored=8)[0], values)


# Bits


@pytest.mark.parametrize(("kind", "bits"), [("uint16", 12), ("uint16", 10), ("int16", 12), ("uint8", 7)])
def test_bits_above_those_stored_are_masked_and_noted(kind, bits):
    values = ramp(bits, kind)
    stray = values.copy()
    stray[::2, ::3] ^= np.array(1 << bits).astype(kind)

    image, notes = rendered(stray, BitsStored=bits)

    assert np.array_equal(image, rendered(values, BitsStored=bits)[0])
    assert notes == (HIGH_BITS,)


def test_a_sign_that_is_not_repeated_in_the_high_bits_is_understood():
    values = ramp(12, "int16")

    image, notes = rendered(values & 0xFFF, WindowCenter=0, WindowWidth=1000)

    assert np.array_equal(image, rendered(values, WindowCenter=0, WindowWidth=1000)[0])
    assert notes == ()


@pytest.mark.parametrize("stored", [0, 17, -3, None, 1e30])
def test_an_impossible_number_of_stored_bits_counts_as_all(stored):
    dataset = header(BitsStored=16)
    if stored is None:
        del dataset.BitsStored
    else:
        dataset["BitsStored"]._value = stored

    image, notes = render(ramp(16), dataset, "display")

    assert np.array_equal(image, ramp(16) >> 8)
    assert notes == (HIGH_BITS,)


def test_values_beyond_the_range_that_the_header_declares_are_noted():
    within = {"SmallestImagePixelValue": 0, "LargestImagePixelValue": 4095}

    assert rendered(ramp(), **within)[1] == ()
    assert rendered(ramp(), **{**within, "LargestImagePixelValue": 4094})[1] == (VALUE_RANGE,)
    assert rendered(ramp(), **{**within, "SmallestImagePixelValue": 1})[1] == (VALUE_RANGE,)


# Polarity and padding


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 3000, "WindowWidth": 9000, "VOILUTFunction": "SIGMOID"}])
def test_the_flip_does_not_depend_on_the_brightest_gray(window):
    """Many pipelines invert by the image's maximum, and make a film without white another film."""
    dark = ramp() // 2

    flipped, _ = rendered(dark, PhotometricInterpretation="MONOCHROME1", **window)
    plain, _ = rendered(dark, **window)

    assert np.array_equal(flipped, 255 - plain)
    assert flipped.min() >= 128


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("rendering", ["display", "full_range"])
def test_padding_is_black_after_the_flip(polarity, rendering):
    values = ramp()
    padded = {"PixelPaddingValue": 100, "PixelPaddingRangeLimit": 90}

    image, notes = rendered(values, rendering, PhotometricInterpretation=polarity, **padded)

    is_padding = (values >= 90) & (values <= 100)
    plain, _ = rendered(values, rendering, PhotometricInterpretation=polarity)
    assert np.array_equal(image, np.where(is_padding, 0, plain))
    assert notes == ()


@pytest.mark.parametrize(
    ("kind", "bits", "stored", "declared"),
    [
        ("int16", 16, -2000, 63536),
        ("uint16", 16, 63536, -2000),
        ("int16", 12, -2000, 63536),
        ("uint16", 12, 65535, 65535),
        ("uint16", 12, 0, 0),
    ],
)
def test_padding_is_found_by_its_bits_whatever_sign_the_header_gives_it(kind, bits, stored, declared):
    values = ramp(bits, kind)
    values[5:9] = stored

    image, _ = rendered(values, BitsStored=bits, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=declared)

    assert (image[5:9] == 0).all()
    assert np.array_equal(np.delete(image, range(5, 9), 0).max(1) > 0, np.ones(60, bool))


def test_padding_that_would_cover_the_whole_film_is_passed_over():
    image, notes = rendered(ramp(), PixelPaddingValue=0, PixelPaddingRangeLimit=4095)

    assert np.array_equal(image, rendered(ramp())[0])
    assert notes == (VALUE_RANGE,)


# Windows


@pytest.mark.parametrize(
    ("window", "ignored"),
    [
        ({"WindowCenter": 2000, "WindowWidth": 1000}, False),
        ({"WindowCenter": 2000, "WindowWidth": 1}, False),
        ({"WindowCenter": 2000, "WindowWidth": 0.9}, True),
        ({"WindowCenter": 2000, "WindowWidth": -5}, True),
        ({"WindowCenter": 2000, "WindowWidth": 0.9, "VOILUTFunction": "LINEAR_EXACT"}, False),
        ({"WindowCenter": 2000, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, True),
        ({"WindowCenter": 2000}, True),
        ({"WindowWidth": 2000}, True),
        ({"WindowCenter": None, "WindowWidth": None}, False),
        ({"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "CURVE"}, False),
    ],
)
def test_a_window_that_cannot_be_applied_is_noted_and_the_full_range_shown(window, ignored):
    image, notes = rendered(ramp(), **window)

    assert notes == (WINDOW_IGNORED,) * ignored
    if ignored:
        assert np.array_equal(image, rendered(ramp())[0])


def test_a_window_of_text_is_noted():
    content = dicom_file(ramp(), BitsStored=12, WindowCenter=2000, WindowWidth=1000)

    image, notes = render(ramp(), parse_dicom(content.replace(b"2000", b"wide").replace(b"1000", b"    ")), "display")

    assert np.array_equal(image, ramp() >> 4)
    assert notes == (WINDOW_IGNORED,)


def test_a_later_window_that_cannot_be_read_does_not_matter():
    content = dicom_file(ramp(), BitsStored=12, WindowCenter=[2000, 1111], WindowWidth=[1000, 2])

    image, notes = render(ramp(), parse_dicom(content.replace(b"1111", b"    ")), "display")

    assert np.array_equal(image, rendered(ramp(), WindowCenter=2000, WindowWidth=1000)[0])
    assert notes == ()


def test_a_window_that_shows_nothing_of_the_film_is_passed_over():
    """The film is not constant, so it is not rejected as if it were; a person would choose another window too."""
    image, notes = rendered(ramp(), WindowCenter=40000, WindowWidth=100)

    assert np.array_equal(image, rendered(ramp())[0])
    assert notes == (WINDOW_IGNORED,)


def test_a_voi_lut_that_shows_nothing_of_the_film_leaves_it_to_the_window():
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    lut = lut_sequence(curve(100, 65535), first=20000)

    image, notes = rendered(ramp(), VOILUTSequence=lut, **window)

    assert np.array_equal(image, rendered(ramp(), **window)[0])
    assert notes == (WINDOW_IGNORED,)


def test_the_window_of_a_film_is_none_where_its_voi_lut_is_used():
    """So that a film is not refused for a window of no width through which nobody sees it."""
    window = {"WindowCenter": 2000, "WindowWidth": 0}

    assert not display_window(header(**window)).has_width
    assert display_window(header(VOILUTSequence=lut_sequence(curve(4096, 4095), bits=12), **window)) is None
    assert not display_window(header(VOILUTSequence=lut_sequence([]), **window)).has_width
    assert display_window(header()) is None


# Lookup tables


def test_a_lut_of_12_bits_counts_by_the_12_bits_that_it_declares():
    data = curve(4096, 4095)

    image, notes = rendered(ramp(), VOILUTSequence=lut_sequence(data, bits=12))

    assert np.array_equal(image.reshape(-1), data >> 4)
    assert notes == ()


def test_a_lut_whose_entries_exceed_the_bits_that_it_declares_does_not_wrap_to_black():
    data = curve(4096, 4095)

    image, notes = rendered(ramp(), VOILUTSequence=lut_sequence(data, bits=10))

    assert np.array_equal(image.reshape(-1), data >> 4)
    assert notes == (VALUE_RANGE,)


def test_a_falling_lut_falls():
    """Kodak's; with MONOCHROME1 the film is flipped after it, so that it rises."""
    data = curve(4096, 4095)[::-1]

    image, _ = rendered(ramp(), VOILUTSequence=lut_sequence(data, bits=12))
    flipped, _ = rendered(ramp(), PhotometricInterpretation="MONOCHROME1", VOILUTSequence=lut_sequence(data, bits=12))

    assert (image.reshape(-1)[0], image.reshape(-1)[-1]) == (255, 0)
    assert (flipped.reshape(-1)[0], flipped.reshape(-1)[-1]) == (0, 255)


def test_values_beyond_a_lut_get_its_first_or_last_entry():
    data = curve(1000, 65535)

    image, notes = rendered(ramp(), VOILUTSequence=lut_sequence(data, first=500))

    assert np.array_equal(image.reshape(-1), data[np.clip(np.arange(4096) - 500, 0, 999)] >> 8)
    assert notes == ()


@pytest.mark.parametrize("declared", [5000, 3000, 0])
def test_a_lut_of_another_length_than_declared_is_used_as_far_as_it_goes(declared):
    data = curve(4096, 65535)

    image, notes = rendered(ramp(), VOILUTSequence=lut_sequence(data, entries=declared))

    kept = data[: declared or 65536]
    assert np.array_equal(image.reshape(-1), np.pad(kept, (0, 4096 - kept.size), "edge") >> 8)
    assert LUT_LENGTH in notes


@pytest.mark.parametrize("entries", [255, 256])
def test_entries_of_8_bits_may_be_packed_in_words(entries):
    data = np.arange(entries, dtype=np.uint8)
    packed = data.tobytes() + b"\0" * (entries % 2)

    image, notes = rendered(
        ramp(8, "uint8"), BitsStored=8, VOILUTSequence=lut_sequence(packed, bits=8, entries=entries)
    )
    wide, _ = rendered(ramp(8, "uint8"), BitsStored=8, VOILUTSequence=lut_sequence(data, bits=8))

    assert np.array_equal(image, wide)
    assert np.array_equal(image.reshape(-1)[:entries], data)
    assert notes == ()


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("signed", [False, True])
def test_luts_are_read_in_either_byte_order_and_with_or_without_types(syntax, signed):
    data = curve(4096, 65535)
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    first = -2048 if signed else 0
    lut = lut_sequence(data.astype(order).tobytes(), entries=4096, first=first)
    values = ramp(12, "int16" if signed else "uint16")

    dataset = parse_dicom(dicom_file(values, syntax=syntax, BitsStored=12, VOILUTSequence=lut))

    assert np.array_equal(read_lookup_table(dataset, "VOILUTSequence")[0].data, data)
    assert np.array_equal(render(values, dataset, "display")[0].reshape(-1), data >> 8)


@pytest.mark.parametrize("first", [-500, 65536 - 500])
def test_the_first_value_of_a_lut_is_negative_where_values_are(first):
    """Its 16 bits mean 65,036 as well as -500, and vendors' files have the wrong type."""
    data = curve(1000, 65535)
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1000}

    image, _ = rendered(ramp(), VOILUTSequence=lut_sequence(data, first=first), **rescale)

    assert np.array_equal(image.reshape(-1), data[np.clip(np.arange(4096) - 1000 + 500, 0, 999)] >> 8)


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"LUTDescriptor": [4096, 0, 16]},
        {"LUTDescriptor": [4096, 0], "LUTData": curve(4096, 65535).tobytes()},
        {"LUTData": curve(4096, 65535).tobytes()},
        {"LUTDescriptor": [4096, 0, 16], "LUTData": b""},
        {"LUTDescriptor": [4096, 0, 16], "LUTData": b"\1"},
        {"LUTDescriptor": [4096, 0, 16], "LUTData": b"\1\1" * 4096},
    ],
)
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_damaged_lut_is_noted_and_passed_over(sequence, item):
    dataset = Dataset()
    for keyword, value in item.items():
        setattr(dataset, keyword, value)

    image, notes = rendered(ramp(), WindowCenter=2000, WindowWidth=1000, **{sequence: Sequence([dataset])})

    assert np.array_equal(image, rendered(ramp(), WindowCenter=2000, WindowWidth=1000)[0])
    assert set(notes) & {LUT_LENGTH, VALUE_RANGE}


def test_a_constant_rescale_is_passed_over():
    image, notes = rendered(ramp(), RescaleSlope=0, RescaleIntercept=7)

    assert np.array_equal(image, rendered(ramp())[0])
    assert notes == (VALUE_RANGE,)


# The named alternatives


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_full_range_is_what_torchxrayvision_makes_of_a_film(polarity):
    """`read_xray_dcm`: neither rescale nor window; flipped and scaled by the greatest value that BitsStored allows."""
    values = ramp() // 3
    ignored = {"WindowCenter": 100, "WindowWidth": 50, "RescaleSlope": -1, "RescaleIntercept": 4095}

    image, notes = rendered(values, "full_range", PhotometricInterpretation=polarity, **ignored)

    theirs = 4095 - values if polarity == "MONOCHROME1" else values
    assert np.abs(image - theirs / 4095 * 255).max() <= 1
    assert notes == ()


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("stray", [0, 0xF000])
def test_equalized_is_what_the_authors_of_chexpert_make_of_a_film(polarity, stray):
    """Their `dcm2img`, in its own order and rounding; MIMIC-CXR-JPG describes the same."""
    values = (1000 + 2000 * np.random.default_rng(0).beta(2, 5, (64, 64))).astype(np.uint16)

    image, notes = rendered(
        values | stray, "equalized", PhotometricInterpretation=polarity, WindowCenter=1, WindowWidth=1
    )

    shifted = (values & 0xFFF) - values.min()
    scaled = (shifted / shifted.max() * 255).astype(np.uint8)
    inverted = cv2.bitwise_not(scaled) if polarity == "MONOCHROME1" else scaled
    assert np.array_equal(image, cv2.equalizeHist(inverted))
    assert notes == ((HIGH_BITS,) if stray else ())
