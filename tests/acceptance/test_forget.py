"""After `producer forget` this machine's home holds nothing of the patient but what the command names."""

import base64
import re
from pathlib import Path

import pytest

from db.addresses import sqlite_address
from db.engine.session import open_database
from db.ledger.reviews import BAD_IMAGE, add_review
from db.ledger.scans import FoundImage
from tests.support.world import hash_artifact, image_name, wait_until, write_csv, write_images
from trainer.data.decoded_images import load_decoded_images
from worker.images.pixels import to_pixels
from worker.images.preprocessing import Preprocessing

# The traces lie in files of this machine, which it keeps without servers of its own, too.
pytestmark = pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)

NAME, PATIENT = image_name(0), "1"
RULE = Preprocessing(height=32, width=32)


@pytest.fixture
def scored(world, tmp_path):
    """A home in which a model was fitted on nine scans of three patients, and run 1 scored all of them."""
    world.env["CXR_PIXEL_CACHE_GB"] = "1"
    write_images(tmp_path / "images", range(9))
    world.csv = write_csv(tmp_path / "sample_labels.csv", range(9))
    hash_artifact(world.home / "models", split=[(NAME, PATIENT, "train")])
    world.scan = tmp_path / "images" / NAME
    _leave_what_a_fit_leaves(world)
    return world


def _leave_what_a_fit_leaves(world):
    scans = [FoundImage(location=str(world.scan), version="1")]
    load_decoded_images(world.home / "trainer" / "pixels", scans, RULE)
    sheet = world.home / "trainer" / "disagreements" / "hash.png"
    sheet.parent.mkdir()
    sheet.write_bytes(NAME.encode())


def _review(world):
    """A review of each scan, whose comment names the image."""
    about = {"run_id": 1, "finding": None, "threshold": None, "verdict": BAD_IMAGE, "reviewer": "ada"}
    engine = open_database(sqlite_address(world.home / "nightread.sqlite"))
    with engine.begin() as connection:
        for (scan_id,) in world.rows("SELECT id FROM scans WHERE patient_id = :patient", patient=PATIENT):
            add_review(connection, scan_id=scan_id, comment=f"{NAME} is cut off", **about)
    engine.dispose()


def traces(world):
    """The files of the home that hold the scan's name, as text or in a message, or its pixels."""
    pixels = to_pixels(world.scan.read_bytes(), RULE).tobytes()
    found = set()
    for path in filter(Path.is_file, world.home.rglob("*")):
        content = path.read_bytes()
        if NAME.encode() in content or pixels in content or NAME.encode() in _decoded(content):
            found.add(path.relative_to(world.home).parts[0])
    return found


def _decoded(content):
    words = re.findall(rb"[A-Za-z0-9+/]{100,}", content)
    return b"".join(base64.b64decode(word[: len(word) // 4 * 4]) for word in words)


def test_no_trace_is_left_but_the_models_split(scored):
    """The command names that and what lies elsewhere."""
    scored.producer("run", "--csv", scored.csv)
    _review(scored)
    assert traces(scored) >= {"nightread.sqlite", "broker", "trainer", "pixels", "models"}
    said = scored.producer("forget", "--patient", PATIENT, "--yes").stdout
    assert traces(scored) == {"models"}
    for left in ("images, CSVs, exports, reports, backups", "pixels/ and trainer/ in CXR_HOME", "these models", "hash"):
        assert left in said


@pytest.mark.slow
def test_a_broker_that_runs_forgets_what_was_sent(scored):
    """A worker that runs meanwhile scores what is enqueued afterwards."""
    worker = scored.worker()
    scored.producer("enqueue", "--csv", scored.csv, "--wait")
    assert "broker" in traces(scored)
    scored.producer("forget", "--patient", PATIENT, "--yes")
    wait_until(lambda: traces(scored) == {"models"}, what="the broker's new file")
    write_images(scored.scan.parent, range(9, 12))
    scored.producer("enqueue", "--csv", write_csv(scored.csv, range(3, 12)), "--wait")
    assert scored.rows("SELECT scored, pending FROM run_progress ORDER BY run_id DESC LIMIT 1") == [(9, 0)]
    assert worker.poll() is None


def test_a_patient_who_is_not_known_costs_nothing(scored):
    """A typing error deletes neither pixels nor an unfinished fit."""
    done = scored.producer("forget", "--patient", "777", "--yes", check=False)
    assert (done.returncode, "trainer" in traces(scored)) == (2, True)
