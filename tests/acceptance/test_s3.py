"""Scans and models in a real S3 server."""

import csv as csv_module

import cv2
import pytest

from tests.support.s3_server import VISITOR, client_of
from tests.support.world import (
    embedded_first,
    hash_artifact,
    image_name,
    radiograph,
    wait_until,
    write_csv,
    write_images,
)

pytestmark = embedded_first

SCANS = range(12)


@pytest.fixture
def bucket(s3, world, tmp_path):
    """A bucket with 12 objects under a prefix: 11 radiographs and one object that is not an image."""
    world.env |= s3
    client = client_of(s3)
    name = f"scans-{world.home.parent.name.replace('_', '-').lower()[:40].strip('-')}"
    client.create_bucket(Bucket=name)
    write_images(tmp_path / "local", SCANS)
    (tmp_path / "local" / image_name(3)).write_bytes(b"<html>not found</html>")
    for path in (tmp_path / "local").iterdir():
        client.put_object(Bucket=name, Key=f"night 1/{path.name}", Body=path.read_bytes())
    return client, name


def test_scans_in_s3_are_scored_like_those_on_disk(world, bucket, tmp_path):
    """Scores and hashes equal those from disk, and missing or invalid objects are rejected."""
    client, name = bucket
    hash_artifact(world.home / "models")
    csv = write_csv(tmp_path / "sample_labels.csv", [*SCANS, 12])
    client.delete_object(Bucket=name, Key=f"night 1/{image_name(7)}")
    world.producer("enqueue", "--csv", csv, "--images", f"s3://{name}/night 1")
    client.delete_object(Bucket=name, Key=f"night 1/{image_name(5)}")
    world.worker()
    wait_until(lambda: world.rows("SELECT pending FROM run_progress") == [(0,)], what="the run's end")

    failed = dict(world.rows("SELECT image_name, reason FROM results_wide WHERE state = 'rejected'"))
    assert failed == {
        image_name(3): "not_image",
        image_name(5): "missing",
        image_name(7): "missing",
        image_name(12): "missing",
    }
    assert world.rows("SELECT count(*) FROM outcomes WHERE state = 'scored' AND content LIKE 'sha256:%'") == [(9,)]
    by_name = dict(world.rows("SELECT image_name, abnormal FROM results_wide WHERE state = 'scored'"))

    # One of them was no image in the bucket, and is one on disk.
    world.producer("enqueue", "--csv", csv, "--images", tmp_path / "local", "--rescore", "--moved")
    wait_until(lambda: world.rows("SELECT pending FROM run_progress WHERE run_id = 2") == [(0,)], what="its end")
    again = dict(world.rows("SELECT image_name, abnormal FROM results_wide WHERE run_id = 2 AND state = 'scored'"))
    assert {image: again[image] for image in by_name} == by_name


ODD_KEYS = [
    "a b.png",
    "ünï 日本.png",
    "a+b.png",
    "a%20b.png",
    "q?x=1&y.png",
    "h#1.png",
    "it's.png",
    '"q".png',
    "n\nl.png",
]


@pytest.mark.slow
def test_keys_with_special_characters_are_scored(world, s3, tmp_path):
    """Such keys pass through listing, SQL, message and worker, with a CSV that names them and without one."""
    world.env |= s3
    client = client_of(s3)
    name = f"odd-{world.home.parent.name.replace('_', '-').lower()[-30:].strip('-')}"
    client.create_bucket(Bucket=name)
    for number, key in enumerate(ODD_KEYS):
        encoded = cv2.imencode(".png", radiograph(number))[1].tobytes()
        client.put_object(Bucket=name, Key=f"night + 1/ward %/{key}", Body=encoded)
    csv = tmp_path / "odd.csv"
    with csv.open("w", newline="", encoding="utf-8") as file:
        rows = csv_module.writer(file)
        rows.writerow(["Image Index", "Finding Labels"])
        rows.writerows([key, "No Finding"] for key in ODD_KEYS if "\n" not in key)
    hash_artifact(world.home / "models")
    world.producer("enqueue", "--csv", csv, "--images", f"s3://{name}/night + 1")
    world.producer("enqueue", "--images", f"s3://{name}/night + 1/")
    world.worker()
    wait_until(lambda: world.rows("SELECT sum(pending) FROM run_progress") == [(0,)], what="the runs' end")
    scored = world.rows("SELECT run_id, image_name FROM results_wide WHERE state = 'scored'")
    assert {key for run, key in scored if run == 1} == {key for key in ODD_KEYS if "\n" not in key}
    assert {key for run, key in scored if run == 2} == {f"ward %/{key}" for key in ODD_KEYS}


@pytest.mark.slow
def test_a_store_that_refuses_the_worker_ends_its_runs_with_one_sentence(world, bucket, s3, tmp_path):
    """All scans of the store are rejected without a request per scan, other scans are scored, and the runs end."""
    _, name = bucket
    hash_artifact(world.home / "models")
    world.env["CXR_CHUNK_SIZE"] = "4"
    csv = write_csv(tmp_path / "sample_labels.csv", SCANS)
    local = write_csv(tmp_path / "local.csv", SCANS)
    world.producer("enqueue", "--csv", csv, "--images", f"s3://{name}/night 1")
    world.producer("enqueue", "--csv", csv, "--images", f"s3://{name}/night 1", "--limit", "9")
    world.producer("enqueue", "--csv", local, "--images", tmp_path / "local")
    world.env |= {"AWS_SECRET_ACCESS_KEY": "wrong"}
    worker = world.worker()
    wait_until(lambda: world.rows("SELECT count(*) FROM runs WHERE finished_at IS NULL") == [(0,)], what="the end")

    query = "SELECT run_id, state, reason, count(*) FROM results_wide GROUP BY run_id, state, reason ORDER BY 1, 4"
    assert world.rows(query) == [
        (1, "rejected", "s3", 12),
        (2, "rejected", "s3", 9),
        (3, "rejected", "not_image", 1),
        (3, "scored", None, 11),
    ]
    sentences = world.rows("SELECT DISTINCT detail FROM outcomes WHERE reason = 's3'")
    assert sentences == [("the secret key does not match the access key",)]
    requests = world.logs().count("rejected: s3")
    assert 1 <= requests <= 4, "the worker requests at most the scans of its first chunk"

    worker.terminate()
    worker.wait(40)
    world.env |= s3
    world.worker()
    world.producer("enqueue", "--csv", csv, "--images", f"s3://{name}/night 1")
    wait_until(lambda: world.rows("SELECT scored FROM run_progress WHERE run_id = 4") == [(11,)], what="the scores")


REFUSALS = {
    "s3://no-such-bucket/x": ({}, "the bucket does not exist"),
    "s3://other-hospital/x": (VISITOR, "these credentials are denied access"),
    "s3://scans/x": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret key does not match the access key"),
}


@pytest.mark.parametrize("address", REFUSALS)
def test_a_bucket_that_cannot_be_listed_is_refused(world, s3, tmp_path, address):
    """`enqueue` exits with code 2 and one sentence with address and cause, and writes nothing."""
    change, cause = REFUSALS[address]
    world.env |= {**s3, **change}
    hash_artifact(world.home / "models")
    csv = write_csv(tmp_path / "sample_labels.csv", SCANS)
    done = world.producer("enqueue", "--csv", csv, "--images", address, check=False)
    assert done.returncode == 2
    assert f"error: {address}: cannot be listed: {cause}" in done.stderr.replace("\n", " ")
    assert world.rows("SELECT count(*) FROM scans") == [(0,)]


def test_a_worker_fetches_its_model_from_s3(world, bucket, tmp_path):
    """Producer and worker find the artifact under the prefix, and the worker keeps a local copy."""
    client, name = bucket
    artifact = hash_artifact(tmp_path / "elsewhere")
    for path in artifact.folder.iterdir():
        client.put_object(Bucket=name, Key=f"models/{artifact.folder.name}/{path.name}", Body=path.read_bytes())
    world.env["CXR_MODEL_DIR"] = f"s3://{name}/models"
    csv = write_csv(tmp_path / "sample_labels.csv", SCANS)
    world.producer("enqueue", "--csv", csv, "--images", f"s3://{name}/night 1")
    world.worker()
    wait_until(lambda: world.rows("SELECT pending FROM run_progress") == [(0,)], what="the run's end")
    assert world.rows("SELECT scored, rejected, model FROM run_progress") == [(11, 1, "hash")]
    assert (world.home / "fetched-models" / artifact.sha256[:12]).is_dir()
