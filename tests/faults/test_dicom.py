"""A run of DICOM, PNG and JPEG mixed, in which a scoring process is killed."""

import time
from itertools import cycle

import cv2
import numpy as np
import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from tests.support.scenario import Scenario, run_quietly, scoring_process_load_seconds
from tests.support.world import SEPARATE, dicom_artifact, radiograph, scoring_process, write_csv
from trainer.phantoms.dicom_file import dicom_file

#: Seconds for the halving, the queue ahead, and the halves' turn.
SLACK_SECONDS = 10
SUFFIXES = ("png", "jpg", "dcm")
#: DICOM films by number; every third scan is one.
FILMS = range(2, 96, 3)
SYNTAXES = (ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless, JPEG2000Lossless)
#: By number: the reason of a film that is not scored, and its header.
REFUSED = {
    5: ("for_processing", {"PresentationIntentType": "FOR PROCESSING"}),
    23: ("secondary_capture", {"SOPClassUID": SecondaryCaptureImageStorage}),
    38: ("body_part", {"BodyPartExamined": "HAND"}),
    53: ("view", {"ViewPosition": "LL"}),
    68: ("burned_in", {"BurnedInAnnotation": "YES"}),
    83: ("window", {"WindowCenter": 2000, "WindowWidth": 0}),
    89: ("truncated", {}),
}


def name_of(number):
    """A name of a patient for whom every log is searched."""
    return f"{77310000 + number // 3:08d}_{number % 3:03d}.{SUFFIXES[number % 3]}"


def uid_of(number):
    return f"1.2.3.{77310000 + number // 3}.{number}"


def film(number, syntax):
    """A DICOM file of 12 bits that names the patient in its header and in its UID."""
    reason, header = REFUSED.get(number, (None, {}))
    patient = {"PatientID": name_of(number)[:8], "PatientName": f"CANARY^{name_of(number)[:8]}"}
    values = radiograph(number).astype(np.uint16) << 4
    whole = dicom_file(
        values, syntax=syntax, **{"SOPInstanceUID": uid_of(number), "BitsStored": 12, **patient, **header}
    )
    return whole[: len(whole) - 1000] if reason == "truncated" else whole


@pytest.fixture
def scenario(world, workers, rng, tmp_path):
    """96 scans; every third one is a DICOM film, and seven of these are not scored."""
    world.env |= {"HASH_SCORER_SECONDS": "0.8", "CXR_EVENTS": "true"}
    dicom_artifact(world.home / "models")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(96):
        if number not in FILMS:
            cv2.imwrite(str(images / name_of(number)), radiograph(number))
    for number, syntax in zip(FILMS, cycle(SYNTAXES)):
        (images / name_of(number)).write_bytes(film(number, syntax))
    csv = write_csv(tmp_path / "sample_labels.csv", range(96), name_of=name_of)
    quiet = run_quietly(tmp_path / "quiet", csv, CXR_MODEL_DIR=str(world.home / "models"))
    scenario = Scenario(world=world, csv=csv, quiet=quiet, workers=workers, rng=rng)
    yield scenario
    scenario.close()


@pytest.mark.parametrize("world", [SEPARATE], indirect=True)
@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_killed_scoring_process_loses_no_film_and_changes_no_score(scenario):
    """Each DICOM film has the scores of a quiet run, or its reason; nothing printed names its patient."""
    worker = scenario.start()
    stated = scoring_process_load_seconds(scenario, worker) + SLACK_SECONDS
    child, lost = scoring_process(worker), scenario.held_by_somebody()
    child.kill()
    killed = time.monotonic()
    child.wait(5)
    assert scenario.pending() > 0
    scenario.recovers("SIGKILL of the child, DICOM", since=killed, stated=stated, lost=lost)
    scenario.finish()
    scenario.check()
    rejected = {number: reason for number, (reason, _) in REFUSED.items()}
    found = {number: scenario.quiet.outcomes[uid_of(number)][:2] for number in FILMS}
    assert found == {n: ("rejected", rejected[n]) if n in rejected else ("scored", None) for n in FILMS}
    assert scenario.world.rows("SELECT count(*) FROM scans WHERE sop_instance_uid = image_name") == [(len(FILMS),)]
