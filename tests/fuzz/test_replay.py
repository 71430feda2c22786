"""A few thousand mutations with a fixed seed. `make fuzz` tries hundreds of thousands, guided by coverage."""

import random

import pytest

from db.errors import PermanentError
from tests.fuzz import seeds
from tests.fuzz.fuzz_statistics import MAX_CPU_SECONDS, Statistics
from tests.fuzz.oracles import check_image
from tests.fuzz.targets import TARGETS
from worker.images.pixels import decode

COUNTS = {"images": 3000, "tables": 4000, "wires": 4000}


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_are_read_correctly_or_refused(name, tmp_path):
    """No other exception is raised, no call takes two seconds, and no damaged file is scored."""
    target, rng = TARGETS[name], random.Random(20)
    statistics, originals = Statistics(target.oracle, tmp_path), target.seeds()
    for _ in range(COUNTS[name]):
        statistics(target.mutated(rng.choice(originals), rng, originals))
    figures = statistics.figures()
    assert not figures["findings"], f"{figures}; see {tmp_path}"
    assert figures["slowest_s"] < MAX_CPU_SECONDS
    # Otherwise all mutations would be refused.
    assert len(figures["results"]) > 1


def test_the_images_that_are_mutated_are_read_or_refused_as_they_are():
    """Most are decoded; otherwise the test above would prove nothing."""
    results = [check_image(encoded, 10**8) for encoded in seeds.images()]
    assert results.count("pixels") >= 30
    assert set(results) <= {"pixels", "dicom", "empty", "not_image"}


def test_no_cut_of_any_image_is_scored():
    """A cut image is refused, wherever it is cut."""
    for encoded in seeds.images():
        for end in sorted(random.Random(4).sample(range(len(encoded)), min(40, len(encoded)))):
            with pytest.raises(PermanentError):
                decode(encoded[:end])
