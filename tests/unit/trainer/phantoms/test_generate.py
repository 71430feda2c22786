import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from trainer.phantoms.generate import draw_phantom, make_phantoms
from trainer.phantoms.marker import is_marked
from trainer.phantoms.opacities import DRAWABLE_FINDINGS
from trainer.phantoms.plan import NIH_HEADER, Phantom, plan_phantoms


def scan_with(*findings):
    return Phantom(patient=3, follow_up=1, findings=findings, age=60, sex="F", view="PA")


def decoded(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_same_seed_draws_the_same_bytes():
    """A phantom is a function of its seed, patient and follow-up."""
    assert draw_phantom(scan_with("Mass"), seed=7) == draw_phantom(scan_with("Mass"), seed=7)
    assert draw_phantom(scan_with("Mass"), seed=7) != draw_phantom(scan_with("Mass"), seed=8)


def test_a_phantom_has_the_form_of_an_nih_image():
    """1024x1024, one channel, 8 bits, and neither all black nor all white."""
    film = decoded(draw_phantom(scan_with(), seed=0))
    assert (film.shape, film.dtype) == ((1024, 1024), np.uint8)
    assert film.std() > 20


@pytest.mark.parametrize("finding", DRAWABLE_FINDINGS)
def test_a_finding_changes_the_film(finding):
    """Every finding changes some bytes, however faint it is."""
    assert draw_phantom(scan_with(finding), seed=1) != draw_phantom(scan_with(), seed=1)


def test_half_of_the_scans_are_normal():
    """45 to 55% have no finding."""
    plan = plan_phantoms(patients=400, seed=0)
    assert 0.45 < sum(not scan.findings for scan in plan) / len(plan) < 0.55


def test_the_csv_has_exactly_nihs_format(tmp_path):
    """Header, CRLF, padded patient ids, ages like 060Y; the images that it names exist."""
    made = make_phantoms(tmp_path, patients=2, seed=0, processes=1)
    content = made.csv.read_bytes().decode()
    assert content.startswith(NIH_HEADER + "\r\n")
    assert content.count("\n") == content.count("\r\n") == made.scans + 1
    rows = read_labels_csv(made.csv).rows
    assert {row.patient_id for row in rows} == {"1", "2"}
    assert {row.image_name for row in rows} == {path.name for path in made.images.iterdir()}


def test_phantoms_are_marked_as_synthetic(tmp_path):
    """By a file that a copied folder has too, whether its CSV or its images are named; no other folder has it."""
    made = make_phantoms(tmp_path / "scans", patients=1, seed=0, processes=1)
    copy = Path(shutil.copytree(tmp_path / "scans", tmp_path / "copy"))
    assert is_marked(made.csv, None)
    assert is_marked(copy / made.csv.name, None)
    for images in (copy, copy / "images"):
        assert is_marked(tmp_path / "mine.csv", str(images))
    for images in (None, str(tmp_path), "s3://bucket/scans"):
        assert not is_marked(tmp_path / "mine.csv", images)


def test_our_header_is_the_genuine_one(genuine_labels_csv):
    """It is exactly that of Kaggle's file."""
    with genuine_labels_csv.open(newline="") as file:
        assert file.readline() == NIH_HEADER + "\r\n"


def test_a_second_call_draws_only_what_is_missing(tmp_path):
    """Images that exist are kept, so an interrupted call can be repeated."""
    made = make_phantoms(tmp_path, patients=2, seed=0, processes=1)
    lost = made.images / "00000001_000.png"
    before = lost.read_bytes()
    lost.unlink()
    assert make_phantoms(tmp_path, patients=2, seed=0, processes=1).drawn == 1
    assert lost.read_bytes() == before
    assert make_phantoms(tmp_path, patients=2, seed=0, processes=1).drawn == 0


def test_a_folder_with_other_scans_is_left_alone(tmp_path):
    """No other data is overwritten."""
    csv = tmp_path / "sample_labels.csv"
    csv.write_text("mine")
    with pytest.raises(UserError, match="choose another --out"):
        make_phantoms(tmp_path, patients=1, seed=0)
    csv.unlink()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00000001_000.png").write_text("mine")
    with pytest.raises(UserError, match="choose another --out"):
        make_phantoms(tmp_path, patients=1, seed=0)
    assert (tmp_path / "images" / "00000001_000.png").read_text() == "mine"
