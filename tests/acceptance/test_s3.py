"""Scans that lie in a real S3 server."""

import boto3
import pytest
from world import hash_artifact, image_name, wait_until, write_csv, write_images

SCANS = range(12)


@pytest.fixture
def bucket(s3, world, tmp_path):
    """A bucket with 12 radiographs under a prefix, one of them not an image and one key with odd characters beside."""
    world.env |= s3
    client = boto3.client(
        "s3",
        endpoint_url=s3["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
    )
    name = f"scans-{world.home.parent.name.replace('_', '-').lower()[:40].strip('-')}"
    client.create_bucket(Bucket=name)
    write_images(tmp_path / "local", SCANS)
    (tmp_path / "local" / image_name(3)).write_bytes(b"<html>not found</html>")
    for path in (tmp_path / "local").iterdir():
        client.put_object(Bucket=name, Key=f"night 1/{path.name}", Body=path.read_bytes())
    return client, name


def test_scans_in_s3_are_scored_like_those_on_disk(world, bucket, tmp_path):
    """Names resolve from one listing; scores equal the disk's; a wrong object is rejected; its ETag is recorded."""
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
    assert world.rows("SELECT count(*) FROM outcomes WHERE state = 'scored' AND content LIKE 'etag:%'") == [(9,)]
    by_name = dict(world.rows("SELECT image_name, abnormal FROM results_wide WHERE state = 'scored'"))

    world.producer("enqueue", "--csv", csv, "--images", tmp_path / "local", "--rescore")
    wait_until(lambda: world.rows("SELECT pending FROM run_progress WHERE run_id = 2") == [(0,)], what="its end")
    again = dict(world.rows("SELECT image_name, abnormal FROM results_wide WHERE run_id = 2 AND state = 'scored'"))
    assert {image: again[image] for image in by_name} == by_name


def test_a_bucket_that_is_not_there_is_refused(world, s3, tmp_path):
    """One sentence naming the address, exit 2."""
    world.env |= s3
    hash_artifact(world.home / "models")
    csv = write_csv(tmp_path / "sample_labels.csv", SCANS)
    done = world.producer("enqueue", "--csv", csv, "--images", "s3://no-such-bucket/x", check=False)
    assert done.returncode == 2
    assert "error: s3://no-such-bucket/x" in done.stderr
