"""The table over all stored values, and how a film is looked up in it without a second copy."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from worker.dicom.stored_values import look_up, stored_range

#: Fewer, as many and more values than are looked up in one part, in rows of odd and even lengths.
SHAPES = ((1, 1), (3, 7), (256, 256), (257, 256), (1, 65537), (70001, 1), (513, 511))


def values_and_table(shape, kind):
    random = np.random.default_rng(0)
    limits = np.iinfo(kind)
    values = random.integers(limits.min, limits.max, shape, endpoint=True, dtype=kind)
    return values, random.integers(0, 256, 1 << limits.bits, dtype=np.uint8)


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_looked_up_by_their_bits(shape, kind):
    values, table = values_and_table(shape, kind)
    patterns = values.view(f"u{values.itemsize}")
    expected = table[patterns]

    image = look_up(values, table)

    assert np.array_equal(image, expected)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


@pytest.mark.parametrize("kind", ["uint16", "int16"])
def test_results_take_the_place_of_values_that_may_be_written_to(kind):
    values, table = values_and_table((2000, 1500), kind)
    expected = table[values.view(np.uint16)]

    image = look_up(values, table)

    assert np.shares_memory(image, values)
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_values_in_the_bytes_of_a_file_stay_as_they_are(kind):
    values, table = values_and_table((513, 511), kind)
    content = values.tobytes()
    in_file = np.frombuffer(content, kind).reshape(values.shape)

    image = look_up(in_file, table)

    assert np.array_equal(image, table[values])
    assert content == values.tobytes()


@pytest.mark.parametrize(("kind", "bits"), [("uint16", 12), ("int16", 12), ("int16", 16), ("int8", 5)])
def test_the_range_of_a_film_is_that_of_its_masked_values(kind, bits):
    least = 0 if kind.startswith("u") else -(1 << bits - 1)
    values = np.array([[least + 1, least + 3, least + 2]], kind)
    dataset = Dataset()
    dataset.BitsStored = bits
    masked = (values.view(f"u{values.itemsize}") & ((1 << bits) - 1)).view(kind)

    for stored in (stored_range(values, dataset)[0], stored_range(masked, dataset)[0]):
        assert (stored.lowest, stored.highest) == (least + 1, least + 3)
        assert stored.numbers[stored.used].tolist() == [least + 1, least + 2, least + 3]
