"""A few thousand mutations with a fixed seed. `make fuzz` tries hundreds of thousands, guided by coverage."""

import random

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit

from db.errors import PermanentError
from tests.fuzz import dicom_seeds, seeds
from tests.fuzz.dicom_oracles import check_film
from tests.fuzz.dicom_structures import frame_cut
from tests.fuzz.fuzz_statistics import MAX_CPU_SECONDS, Statistics
from tests.fuzz.oracles import check_image
from tests.fuzz.targets import TARGETS
from trainer.phantoms.dicom_file import SYNTAXES
from worker.dicom.dataset import parse_dicom, text_of
from worker.images.pixels import prepare
from worker.images.preprocessing import Preprocessing

COUNTS = {"images": 3000, "films": 1500, "headers": 700, "tables": 4000, "wires": 4000}


@pytest.mark.parametrize("name", COUNTS)
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


def test_the_films_that_are_mutated_are_scored_as_they_are():
    """Every syntax is decoded; a Secondary Capture with burned-in text is refused."""
    results = [check_film(encoded, 10**6) for encoded in dicom_seeds.films()]
    assert results.count("pixels") >= len(results) - 1


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_no_cut_of_a_film_is_scored(syntax):
    """A film that lacks an end of its pixels is refused, wherever it is cut."""
    encoded = dicom_seeds.film(syntax, bits=12 if syntax != JPEGBaseline8Bit else 8)
    # After the last value stand at most a padding byte and the end of the sequence of fragments.
    for end in random.Random(4).sample(range(len(encoded) - 12), 60):
        with pytest.raises(PermanentError):
            prepare(encoded[:end], Preprocessing(rule=2))


def test_no_frame_is_scored_that_lacks_its_middle():
    """Its header and its end marker are there, but some decoders would make up the rest."""
    rng = random.Random(5)
    for encoded in dicom_seeds.films() * 5:
        cut = frame_cut(encoded, rng)
        if cut is not None:
            with pytest.raises(PermanentError):
                prepare(cut, Preprocessing(rule=2))


def test_a_sequence_where_text_belongs_is_not_printed():
    """pydicom prints nested ones as a tree: a file of 41 KB took 24 GB."""
    encoded = dicom_seeds.film(ViewCodeSequence=[Dataset()]).replace(b"\x54\0\x20\x02SQ", b"\x18\0\x01\x51SQ")
    assert text_of(parse_dicom(encoded), "ViewPosition") is None
    assert check_film(encoded, 10**6) == "pixels"


def test_a_number_of_an_odd_length_is_refused():
    """pydicom raises an error that is no ValueError."""
    rows = b"\x28\0\x10\0US"
    encoded = dicom_seeds.film().replace(rows + b"\2\0", rows + b"\3\0\0")
    assert check_film(encoded, 10**6) == "truncated"
