"""DICOM phantoms look as their PNGs do, and beside them lies one file for each reason not to score one."""

import csv
from functools import partial

import cv2
import numpy as np
import pytest
from pydicom import dcmread, uid

from db.errors import PermanentError, UserError
from trainer.phantoms.dicom_file import dicom_file
from trainer.phantoms.dicom_films import dicom_drawings, dicom_labels_csv, draw_dicom, film_path
from trainer.phantoms.generate import draw_phantom, make_phantoms
from trainer.phantoms.habits import HABITS, SYNTAXES
from trainer.phantoms.plan import plan_phantoms
from worker.dicom.admission import check_admission, refused_codes
from worker.dicom.film import decode_film
from worker.images.pixels import prepare
from worker.images.preprocessing import Preprocessing

RULE = Preprocessing(rule=2, height=64, width=64)
#: Gray levels of all kinds, which a compressor finds as easy as a film's.
GRAY = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (96, 96)), (0, 0), 6)
GRAY = (GRAY - GRAY.min()) / np.ptp(GRAY) * 255
#: Those that change values, and by how many gray levels at most.
LOSSY_SYNTAXES = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}
LOSSY = 4

shown = partial(decode_film, rendering="display", max_pixels=2**22, refused=frozenset())


@pytest.fixture(scope="module")
def plan():
    return plan_phantoms(patients=10, seed=0)


@pytest.mark.parametrize(("number", "habit"), list(enumerate(HABITS)), ids=lambda value: getattr(value, "name", ""))
def test_a_film_looks_the_same_whatever_a_vendors_habit(number, habit):
    """Within a gray level of the film, or a few where its transfer syntax loses something."""
    values, header = habit.store(GRAY)
    for syntax in (uid.ExplicitVRLittleEndian, habit.syntax(number, header["BitsStored"])):
        film = shown(dicom_file(values, syntax=syntax, preamble=habit.preamble, **header)).image
        assert np.abs(film - np.rint(GRAY)).max() <= (LOSSY if syntax in LOSSY_SYNTAXES else 1)


def test_the_first_films_have_every_habit_and_every_transfer_syntax():
    """In one turn of the habits, so that a small data set has them all."""
    bits = [habit.store(GRAY)[1]["BitsStored"] for habit in HABITS]
    syntaxes = [habit.syntax(number, bits[number]) for number, habit in enumerate(HABITS)]
    assert set(syntaxes) == set(SYNTAXES)
    assert np.gcd(len(HABITS), len(SYNTAXES)) == 1


def test_a_phantom_looks_alike_as_png_and_as_dicom(plan):
    """The same seed draws the same anatomy, findings and exposure."""
    film = cv2.imdecode(np.frombuffer(draw_phantom(plan[0], seed=0), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.abs(shown(draw_dicom(plan[0], seed=0, number=0)).image.astype(int) - film).max() <= 1


def test_the_same_seed_draws_the_same_file(plan):
    """The UIDs too; another seed draws other patients."""
    assert draw_dicom(plan[0], seed=7, number=0) == draw_dicom(plan[0], seed=7, number=0)
    assert draw_dicom(plan[0], seed=7, number=0) != draw_dicom(plan[0], seed=8, number=0)


def test_every_header_says_that_the_film_is_synthetic_and_names_nobody(plan, tmp_path):
    """By the element that the standard has for it; there is no name and no birth date."""
    path = tmp_path / "film"
    path.write_bytes(draw_dicom(plan[0], seed=0, number=0))
    header = dcmread(path)
    assert (header.SyntheticData, header.PatientIdentityRemoved) == ("YES", "YES")
    assert not {"PatientName", "PatientBirthDate", "AccessionNumber"} & {element.keyword for element in header}


def test_one_file_lies_beside_the_films_for_each_reason(plan):
    """Each has exactly one reason, for a model that was fitted on frontal views."""
    reasons = {}
    films = {film_path(phantom) for phantom in plan}
    for name, draw in dicom_drawings(plan, 0).items():
        if name not in films:
            reasons[name.rpartition("/")[2]] = _reason(draw())
    assert reasons == {
        "IM0002": "view",
        "IM0003": "for_processing",
        "IM0004": "secondary_capture",
        "IM0005": "burned_in",
        "IM0006": "body_part",
        "IM0007": "sop_class",
        "IM0008": "window",
        "IM0009": "truncated",
        "SR0001": "not_image",
        "REPORT.PDF": "not_image",
        "DICOMDIR": "not_image",
    }


def _reason(content):
    try:
        check_admission(prepare(content, RULE).notes, refused_codes(frozenset(), ["PA", "AP"]))
    except PermanentError as error:
        return error.reason
    return None


def test_the_csv_names_films_by_uid_and_by_path(plan):
    """It leaves patients and views to the headers."""
    rows = list(csv.reader(dicom_labels_csv(plan, 0).decode().splitlines()))
    assert rows[0] == ["Image Index", "Finding Labels"]
    names = [name for name, _ in rows[1:]]
    paths = {film_path(phantom) for phantom in plan}
    assert len(set(names)) == len(plan)
    assert 0 < len(paths & set(names)) < len(plan)
    assert all(name in paths or name.startswith("1.2.") for name in names)


def test_a_second_call_draws_only_the_dicom_files_that_are_missing(tmp_path):
    """As with PNGs; and a folder of the one kind is not filled with the other."""
    made = make_phantoms(tmp_path, patients=1, seed=0, dicom=True, processes=1)
    lost = made.images / "PAT00001" / "STUDY000" / "SR0001"
    lost.unlink()
    again = make_phantoms(tmp_path, patients=1, seed=0, dicom=True, processes=1)
    assert (again.drawn, again.others, lost.exists()) == (1, 11, True)
    with pytest.raises(UserError, match="choose another --out"):
        make_phantoms(tmp_path, patients=1, seed=0, processes=1)
