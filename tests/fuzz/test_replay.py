"""A few thousand mutations with a fixed seed. `make fuzz` tries hundreds of thousands, guided by what they reach."""

import random

import pytest

from db.errors import PermanentError
from tests.fuzz import seeds
from tests.fuzz.fuzz_run import MAX_CPU_SECONDS, FuzzRun
from tests.fuzz.judge import judge_image
from tests.fuzz.targets import TARGETS
from worker.images.pixels import decode

COUNTS = {"images": 3000, "tables": 4000, "wires": 4000}


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_come_to_what_they_mean_or_to_a_refusal(name, tmp_path):
    """Never another exception, never two seconds, never a score that the bytes do not vouch for."""
    target, rng = TARGETS[name], random.Random(20)
    run, originals = FuzzRun(target.judge, tmp_path), target.seeds()
    for _ in range(COUNTS[name]):
        run.try_input(target.mutated(rng.choice(originals), rng, originals))
    figures = run.figures()
    assert not figures["findings"], f"{figures}; see {tmp_path}"
    assert figures["slowest_s"] < MAX_CPU_SECONDS
    # Otherwise all mutations would be refused at the first check.
    assert len(figures["came_to"]) > 1


def test_the_images_that_are_mutated_are_read_or_refused_as_they_are():
    """Most are pixels, or the test above would prove nothing."""
    came_to = [judge_image(encoded, 10**8) for encoded in seeds.images()]
    assert came_to.count("pixels") >= 30
    assert set(came_to) <= {"pixels", "dicom", "empty", "not_image"}


def test_no_cut_of_any_image_is_scored():
    """Of none of them, wherever it is cut."""
    for encoded in seeds.images():
        for end in sorted(random.Random(4).sample(range(len(encoded)), min(40, len(encoded)))):
            with pytest.raises(PermanentError):
                decode(encoded[:end])
