"""A run from a labels CSV through a real queue and a real worker to rows in SQL."""

import json

import pytest

from db.findings import FINDINGS, column_of
from tests.support.hash_scorer import hash_scores
from tests.support.world import (
    embedded_first,
    hash_artifact,
    image_name,
    radiograph,
    wait_until,
    write_csv,
    write_images,
)
from worker.images.pixels import preprocess
from worker.images.preprocessing import Preprocessing

SCANS = range(60)
MISSING = range(60, 64)
COLUMNS = ", ".join(column_of(finding) for finding in FINDINGS)


@pytest.fixture
def source(world, tmp_path):
    """A CSV of 64 images, of which four are missing, one is empty and one truncated, and a published model."""
    images = tmp_path / "images"
    write_images(images, SCANS)
    (images / image_name(3)).write_bytes(b"")
    (images / image_name(5)).write_bytes((images / image_name(5)).read_bytes()[:500])
    hash_artifact(world.home / "models", split=[(image_name(0), "1", "train")])
    return write_csv(tmp_path / "sample_labels.csv", [*SCANS, *MISSING])


def finished(world):
    return lambda: world.rows("SELECT count(*) FROM runs WHERE finished_at IS NULL") == [(0,)]


def test_every_scan_of_the_csv_ends_as_its_own_score_or_as_a_reason(world, source):
    """Each score in SQL is that of the scan's own pixels, and each other scan has a row with a reason."""
    world.producer("enqueue", "--csv", source)
    world.worker()
    wait_until(finished(world), what="the run's end")

    found = world.rows(f"SELECT image_name, {COLUMNS} FROM results_wide WHERE state = 'scored'")
    rule = Preprocessing(height=32, width=32)
    for name, *scores in found:
        number = next(n for n in SCANS if image_name(n) == name)
        assert scores == hash_scores(preprocess(radiograph(number), rule), len(FINDINGS)).astype(float).tolist()
    assert len(found) == 58
    failed = dict(world.rows("SELECT image_name, reason FROM results_wide WHERE state = 'rejected'"))
    missing = {image_name(number): "missing" for number in MISSING}
    assert failed == {image_name(3): "empty", image_name(5): "truncated", **missing}


@embedded_first
def test_a_second_enqueue_sends_nothing_and_links_the_existing_outcomes(world, source):
    """Scans that are already decided are linked to the new run and are not scored again."""
    world.producer("enqueue", "--csv", source)
    world.worker()
    wait_until(finished(world), what="the run's end")
    before = world.rows("SELECT * FROM outcomes ORDER BY id")

    again = world.producer("enqueue", "--csv", source)

    assert "nothing to score" in again.stdout
    assert world.rows("SELECT * FROM outcomes ORDER BY id") == before
    assert world.rows("SELECT expected, scored, rejected, pending, reused FROM run_progress WHERE run_id = 2") == [
        (64, 58, 6, 0, 64)
    ]


@embedded_first
def test_a_moved_image_keeps_its_score_and_a_changed_image_is_scored_again(world, source, tmp_path):
    """Equal bytes in another folder keep their score; with `--moved`, changed or repaired bytes are scored again."""
    world.producer("enqueue", "--csv", source)
    world.worker()
    wait_until(finished(world), what="the run's end")
    elsewhere = tmp_path / "elsewhere"
    write_images(elsewhere, SCANS)
    (elsewhere / image_name(9)).write_bytes((elsewhere / image_name(10)).read_bytes())
    world.producer("enqueue", "--csv", source, "--images", elsewhere, "--moved")
    wait_until(finished(world), what="the second run's end")
    again = world.rows("SELECT image_name FROM results_wide WHERE run_id = 2 AND revision = 2 AND state = 'scored'")
    assert sorted(again) == [(image_name(3),), (image_name(5),), (image_name(9),)]
    same = world.rows(
        "SELECT count(DISTINCT abnormal) FROM results_wide WHERE run_id = 2 AND image_name IN (:nine, :ten)",
        nine=image_name(9),
        ten=image_name(10),
    )
    assert same == [(1,)]


@embedded_first
def test_two_workers_share_a_run_and_decide_each_scan_once(world, source):
    """With two workers on one run, every outcome is written once."""
    world.env["HASH_SCORER_SECONDS"] = "0.3"
    world.worker(), world.worker()
    world.producer("enqueue", "--csv", source)
    wait_until(finished(world), what="the run's end")
    assert world.rows("SELECT count(*), count(DISTINCT outcome_id) FROM scores") == [(58, 58)]


def test_the_run_command_scores_and_reports(world, source):
    """`producer run` scores, aggregates over held-out patients, reports, and exits with 3 if scans were rejected."""
    done = world.producer("run", "--csv", source, check=False)
    assert done.returncode == 3, done.stderr
    folder = world.home / "reports" / "run-1"
    report = json.loads((folder / "report.json").read_text())
    assert (folder / "index.html").exists()
    assert (folder / "thresholds.csv").exists()
    assert report["run_id" if "run_id" in report else "run"]
    assert world.rows("SELECT count(*) FROM threshold_metrics WHERE finding = 'Abnormal' AND subset = 'held_out'") != [
        (0,)
    ]


@embedded_first
def test_no_name_or_patient_appears_in_logs(world, source):
    """A worker's log names every scan by its number, also a rejected one, because file names hold patient ids."""
    world.producer("enqueue", "--csv", source)
    world.worker()
    wait_until(finished(world), what="the run's end")
    world.stop()
    logs = world.logs()
    assert "rejected: empty" in logs
    assert not [number for number in SCANS if image_name(number) in logs]
    assert not [name for name in ("00000001", "00000002", "sample_labels") if name in logs]
