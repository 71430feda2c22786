"""A hospital's folder of DICOM goes in as it is: no CSV, no suffixes, other files beside the films."""

import json

import cv2
import numpy as np
import pytest
from pydicom.uid import BasicTextSRStorage, MediaStorageDirectoryStorage

from tests.support.world import dicom_artifact, embedded_first, hash_artifact, radiograph, write_images
from trainer.phantoms.dicom_file import LOSSLESS_SYNTAXES, dicom_file

pytestmark = embedded_first

FILM = np.zeros((8, 8), np.uint16)
UIDS = [f"1.2.826.0.4.{number}" for number in range(12)]
LEFT_OUT = {"dicom_without_image": 1, "dicomdir": 1, "hidden": 1, "pdf": 1, "text": 2}
WORDS = "left out: 1 DICOM file without an image, 1 DICOMDIR, 1 hidden file, 1 PDF document, 2 text files"


@pytest.fixture
def archive(tmp_path):
    """Twelve films that are all called IM0001, two PNGs, and what else lies on a hospital's CD."""
    root = tmp_path / "archive"
    for number, uid in enumerate(UIDS):
        folder = root / f"DICOM/ST{number:04d}/SE0001"
        folder.mkdir(parents=True)
        film = dicom_file(FILM, SOPInstanceUID=uid, PatientID=f"P{number}", PatientName="CANARY^ANNA")
        (folder / "IM0001").write_bytes(film)
    write_images(root / "png", [0, 1])
    (root / "DICOMDIR").write_bytes(dicom_file(FILM, SOPClassUID=MediaStorageDirectoryStorage))
    (root / "SR0001").write_bytes(dicom_file(FILM, SOPClassUID=BasicTextSRStorage))
    for name, data in {"report": b"%PDF-1.7", "README": b"words", "list.csv": b"a,b\n", ".x": b"x"}.items():
        (root / name).write_bytes(data)
    return root


def test_a_folder_of_dicom_is_registered_without_a_csv_and_the_rest_is_counted_by_kind(world, archive):
    """Printed, in JSON and in a dry run alike; the films have their UIDs as names."""
    world.env["CXR_BROKER_URL"] = "redis://127.0.0.1:1/0"
    hash_artifact(world.home / "models")
    source = ("enqueue", "--images", archive)
    planned = world.producer(*source, "--dry-run").stdout
    assert "14  images found, 0 missing" in planned
    assert WORDS in planned
    done = world.producer(*source)
    assert WORDS in done.stdout
    assert "CANARY" not in done.stdout + done.stderr
    enqueued = json.loads(world.producer(*source, "--json").stdout)
    assert (enqueued["left_out"], enqueued["left_out_by_reason"]) == (6, LEFT_OUT)
    scans = world.rows("SELECT image_name, patient_id FROM scans")
    assert {name for name, _ in scans if name.startswith("1.2.")} == set(UIDS)
    assert dict(scans)[UIDS[3]] == "P3"
    assert len(scans) == 14


@pytest.mark.slow
def test_a_png_wrapped_as_dicom_scores_the_same_to_the_bit(world, tmp_path):
    """In every encoding that changes no pixel, and in inverted values that say so."""
    dicom_artifact(world.home / "models")
    folder, gray = tmp_path / "forms", radiograph(1)
    folder.mkdir()
    cv2.imwrite(str(folder / "gray.png"), gray)
    for number, syntax in enumerate(LOSSLESS_SYNTAXES):
        (folder / f"IM{number}").write_bytes(dicom_file(gray, syntax=syntax))
    (folder / "inverted").write_bytes(dicom_file(255 - gray, PhotometricInterpretation="MONOCHROME1"))
    world.producer("run", "--images", folder)
    counted = "SELECT count(*), count(abnormal), count(DISTINCT abnormal), count(sop_instance_uid) FROM results_wide"
    films = len(LOSSLESS_SYNTAXES) + 1
    assert world.rows(counted) == [(films + 1, films + 1, 1, films)]
