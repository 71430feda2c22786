"""Every file of an image folder ends as a score, ends as one row with a reason, or is skipped and counted."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread

from tests.support.screenshot import screenshot
from tests.support.world import hash_artifact, image_name, radiograph, write_csv, write_images

# The files of a folder do not depend on the database or the broker.
pytestmark = pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def home(world):
    hash_artifact(world.home / "models")
    return world


def score(world, *arguments):
    """Run `producer run --json` and return its report and exit code, which is 3 if a scan was rejected."""
    done = world.producer("run", *arguments, "--json", check=False)
    assert done.returncode in (0, 3), f"{done.stderr}\n{_logs_of_runs(world)}"
    return json.loads(done.stdout), done.returncode


def _logs_of_runs(world):
    return "\n".join(path.read_text() for path in (world.home / "logs").iterdir())


def rejection_reasons(world):
    return dict(world.rows("SELECT image_name, reason FROM results_wide WHERE state = 'rejected'"))


def test_a_folder_without_a_csv_is_scored_and_its_report_shows_coverage_and_spread(home, tmp_path):
    """With `--images` alone, the dataset has the folder's name, and the report has a distribution but no metrics."""
    night = tmp_path / "night 1"
    write_images(night, range(4))
    write_images(night / "ward 'B'", range(4, 6))
    (night / "readme.txt").write_text("not an image")
    report, code = score(home, "--images", night, "--out", tmp_path / "report")

    assert code == 0
    assert (report["dataset"], report["label_set"], report["coverage"]["scored"]) == ("night 1", None, 6)
    assert (report["evaluation"], len(report["worklist"])) == (None, 6)
    assert report["spread"]["minimum"] < report["spread"]["maximum"]
    assert (tmp_path / "report" / "index.html").exists()
    names = {name for (name,) in home.rows("SELECT image_name FROM results_wide")}
    assert f"ward 'B'/{image_name(4)}" in names
    assert home.rows("SELECT DISTINCT label FROM results") == [(None,)]


@pytest.mark.slow
def test_the_same_radiograph_scores_the_same_in_every_lossless_form(home, tmp_path):
    """Gray, colour, alpha, 16-bit, TIFF and BMP files of one radiograph give one score, whatever their extension."""
    folder = tmp_path / "forms"
    folder.mkdir()
    gray = radiograph(1)
    cv2.imwrite(str(folder / "gray.png"), gray)
    cv2.imwrite(str(folder / "colour.png"), cv2.merge([gray] * 3))
    cv2.imwrite(str(folder / "alpha.png"), cv2.merge([gray, gray, gray, np.full_like(gray, 7)]))
    cv2.imwrite(str(folder / "deep.png"), gray.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "scan.tiff"), gray)
    cv2.imwrite(str(folder / "scan.bmp"), gray)
    shutil.copy(folder / "scan.bmp", folder / "misnamed.jpg")
    _, code = score(home, "--images", folder)
    assert code == 0
    assert home.rows("SELECT count(*), count(DISTINCT abnormal) FROM results_wide") == [(7, 1)]


def test_every_unusable_file_ends_as_one_row_with_a_reason(home, tmp_path):
    """Broken and foreign files get one reason each, the images beside them are scored, and names stay unchanged."""
    folder = tmp_path / "odd"
    write_images(folder, range(2))
    odd = 'a [red] "quoted", ünï – name.png'
    shutil.copy(folder / image_name(0), folder / odd)
    whole = (folder / image_name(1)).read_bytes()
    contents = {
        "empty.png": b"",
        "page.png": b"<!DOCTYPE html><html></html>",
        "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "cut.png": whole[: len(whole) // 2],
        "study.dcm": bytes(128) + b"DICM" + bytes(200),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    cv2.imwrite(str(folder / "black.png"), np.zeros((64, 64), np.uint8))
    (folder / "folder.png").mkdir()
    (tmp_path / "outside.png").write_bytes(whole)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    names = [
        "folder.png",
        "link.png",
        "dangling.png",
        "pipe.png",
        "black.png",
        *contents,
        odd,
        *map(image_name, range(2)),
    ]
    csv = tmp_path / "labels.csv"
    quoted = [name.replace('"', '""') for name in names]
    csv.write_text("Image Index,Finding Labels\n" + "".join(f'"{name}",Mass\n' for name in quoted))

    report, code = score(home, "--csv", csv, "--images", folder)

    assert (code, report["coverage"]["scored"], report["coverage"]["expected"]) == (3, 3, 13)
    reasons = rejection_reasons(home)
    assert {name: reasons[name] for name in [*contents, "black.png"]} == {
        "empty.png": "empty",
        "page.png": "not_image",
        "pointer.png": "not_image",
        "cut.png": "truncated",
        "study.dcm": "dicom",
        "black.png": "constant",
    }
    for name in ("folder.png", "link.png", "dangling.png", "pipe.png"):
        assert reasons[name] in ("unreadable", "missing"), name
    assert odd in home.producer("failures", "--run", "1").stdout or odd not in reasons
    assert "Traceback" not in _logs_of_runs(home)


@pytest.mark.slow
def test_an_image_that_was_overwritten_is_scored_again(home, tmp_path):
    """An image whose bytes changed is due again as a new revision, and the earlier run keeps the old one."""
    write_images(tmp_path / "images", range(3))
    csv = write_csv(tmp_path / "sample_labels.csv", range(3))
    score(home, "--csv", csv)
    cv2.imwrite(str(tmp_path / "images" / image_name(1)), radiograph(99))
    report, _ = score(home, "--csv", csv)
    assert (report["coverage"]["scored"], report["coverage"]["reused"]) == (3, 2)
    newest = f"SELECT run_id, revision FROM results_wide WHERE image_name = '{image_name(1)}' ORDER BY run_id"
    assert home.rows(newest) == [(1, 1), (2, 2)]


@pytest.mark.slow
def test_the_pixel_limit_is_a_setting_of_the_worker(home, tmp_path):
    """`CXR_MAX_PIXELS` reaches the scoring process."""
    write_images(tmp_path / "images", range(3))
    home.env["CXR_MAX_PIXELS"] = "100"
    score(home, "--images", tmp_path / "images")
    assert home.rows("SELECT DISTINCT state, reason FROM results_wide") == [("rejected", "too_large")]


@pytest.mark.slow
def test_an_image_with_colour_is_noted_and_under_reject_colour_rejected(home, tmp_path):
    """A scan that has a score keeps it and its note; with --rescore it is decided again."""
    write_images(tmp_path / "images", range(2))
    cv2.imwrite(str(tmp_path / "images" / "page.png"), screenshot())
    latest = (
        "SELECT s.image_name, o.state, o.reason, o.notes FROM outcomes o JOIN scans s ON s.id = o.scan_id "
        "JOIN run_scans r ON r.outcome_id = o.id WHERE r.run_id = (SELECT max(id) FROM runs) ORDER BY 1"
    )
    films = [(image_name(number), "scored", None, None) for number in range(2)]
    noted, rejected = ("page.png", "scored", None, "colour"), ("page.png", "rejected", "colour", None)
    for options, code, page in [
        ((), 0, noted),
        (["--reject-colour"], 0, noted),
        (["--reject-colour", "--rescore"], 3, rejected),
    ]:
        assert score(home, "--images", tmp_path / "images", *options)[1] == code
        assert home.rows(latest) == [*films, page], options


@pytest.mark.skipif(not SHARED.exists(), reason="the real data is not beside this checkout")
def test_the_odd_files_of_the_real_data_each_have_an_outcome(home, tmp_path):
    """Every file of data/odd and data/dicom is scored or rejected with a reason, but for a report without an image.

    A model of format 1 scores no DICOM.
    """
    folder = tmp_path / "real"
    folder.mkdir()
    for path in [*(SHARED / "odd").iterdir(), *(SHARED / "dicom").iterdir()]:
        # no_meta.dcm has the SOP Instance UID of CT_small.dcm: a person would be asked which of them is meant.
        if path.name != "no_meta.dcm":
            shutil.copy(path, folder / path.name)
    report, code = score(home, "--images", folder)
    coverage = report["coverage"]
    assert (code, coverage["expected"], coverage["pending"]) == (3, len(list(folder.iterdir())) - 1, 0)
    assert report["left_out"] == {"dicom_without_image": 1}
    reasons = rejection_reasons(home)
    assert reasons["gitlfs_pointer_00008270_015.png"] == "not_image"
    assert reasons["synthetic_zero_bytes.png"] == "empty"
    assert reasons["jupyter_html_named_test1.dcm"] == "not_image"
    for path in (SHARED / "dicom").glob("RG*.dcm"):
        assert reasons[dcmread(path, stop_before_pixels=True).SOPInstanceUID] == "dicom"
    assert coverage["scored"] == 4
