"""An S3 store fails for a while or for some objects; a temporary failure costs no scan its score."""

import dataclasses
import itertools
import time

import pytest
from botocore.config import Config

from tests.support import s3_proxy
from tests.support.invariants import run_results
from tests.support.s3_proxy import S3Proxy
from tests.support.s3_server import bucket_for_all, client_of
from tests.support.scenario import SCANS, name_of
from tests.support.world import World, wait_until

pytestmark = pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)

#: Seconds of two waits of a botocore client for a silent store, and of the pause between them.
SILENCE_SECONDS = 2 * 10 + 1


@pytest.fixture
def proxy(s3, rng):
    proxy = S3Proxy(s3["AWS_ENDPOINT_URL_S3"], rng)
    yield proxy
    proxy.stop()


@pytest.fixture
def bucket(s3):
    return bucket_for_all(s3)


@pytest.fixture
def prefix(tmp_path):
    """The prefix of this test's images, which names a patient as a hospital's keys may."""
    return f"{tmp_path.name}/patient 77319999/images"


@pytest.fixture
def scenario(scenario, s3, proxy, bucket, prefix):
    """The scenario with its images in a bucket behind the proxy; every second image has only its ETag as checksum."""
    clients = itertools.cycle([client_of(s3), client_of(s3, Config(request_checksum_calculation="when_required"))])
    for path, client in zip(sorted((scenario.csv.parent / "images").iterdir()), clients, strict=False):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{path.name}", Body=path.read_bytes())
    scenario.images = ("--images", f"s3://{bucket}/{prefix}")
    scenario.world.env |= s3 | {"AWS_ENDPOINT_URL_S3": proxy.address, "CXR_READ_THREADS": "8"}
    return scenario


def start_workers(scenario):
    """Start all of the scenario's workers, and return once one of them has loaded its model."""
    before = scenario.world.logs().count("loaded: hash")
    for _ in range(scenario.workers):
        scenario.worker()
    wait_until(lambda: scenario.world.logs().count("loaded: hash") > before, 60, scenario.world.logs())


#: The fault, the share of answers that it spoils, and the stated seconds until a further scan is decided.
ANSWER_FAULTS = {
    "503 SlowDown": (s3_proxy.slow_down, 0.2, 10),
    "500": (s3_proxy.internal_error, 0.2, 10),
    "a redirect": (s3_proxy.redirected, 0.2, 10),
    "a portal's page with 200": (s3_proxy.portal, 0.2, 10),
    "a portal's redirect": (s3_proxy.portal_redirect, 0.2, 10),
    "a gateway's 502": (s3_proxy.bad_gateway, 0.2, 10),
    "a gateway's 404": (s3_proxy.proxy_misses, 0.2, 10),
    "a gateway's 403": (s3_proxy.proxy_denies, 0.2, 10),
    "a gateway's 416": (s3_proxy.no_range, 0.2, 10),
    "bodies cut short": (s3_proxy.cut_short, 0.2, 10),
    "flipped bits": (s3_proxy.flipped, 0.2, 10),
    "stalled bodies": (s3_proxy.stalled, 0.1, 15),
    "dripping bodies": (s3_proxy.dripping, 0.1, 15),
    "silence": (s3_proxy.silent, 0.1, 15),
}


@pytest.mark.parametrize("kind", ANSWER_FAULTS)
def test_failures_of_some_requests_cost_no_scan_its_score(scenario, proxy, kind):
    """A random share of the answers is spoiled until the run's end, including answers to repeated requests."""
    fault, share, stated = ANSWER_FAULTS[kind]
    proxy.spoil(fault, share)
    scenario.start()
    wait_until(lambda: proxy.spoiled, 20, "a spoiled answer")
    scenario.recovers(f"S3: {share:.0%} of requests: {kind}", since=time.monotonic(), stated=stated)
    scenario.finish(240)
    scenario.check()


@pytest.mark.parametrize("seconds", [10, 60])
def test_an_endpoint_that_was_down_costs_no_scan_its_score(scenario, proxy, seconds):
    """The endpoint refuses connections for a while; no scan is rejected, and work goes on afterwards."""
    scenario.start()
    proxy.stop()
    decided = scenario.decided()
    time.sleep(seconds)
    assert scenario.pending() > 0
    assert scenario.decided() <= decided + 16 * scenario.workers, "what was read before the fault, at most"
    proxy.start()
    scenario.recovers(f"S3: endpoint down {seconds} s", since=time.monotonic(), stated=10)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("kind", ["stalled", "dripping", "silent"])
def test_a_store_that_hangs_does_not_hold_workers_for_ever(scenario, proxy, kind):
    """Every answer hangs for 20 s, longer than a message may be held, and workers hand the chunks back in time."""
    scenario.start()
    proxy.spoil(getattr(s3_proxy, kind), 1)
    time.sleep(20)
    assert proxy.spoiled[kind] > 0
    assert scenario.pending() > 0
    proxy.heal()
    scenario.recovers(f"S3: {kind} for 20 s", since=time.monotonic(), stated=SILENCE_SECONDS + 5)
    scenario.finish(150)
    scenario.check()
    # A lone scan's message that was held for too long comes back like a dead worker's. The next worker counts an
    # attempt and takes it back once it has survived the scan: the count never reaches two.
    assert scenario.world.rows("SELECT max(attempts) FROM outcomes")[0][0] <= 1, "I5: no worker died"


def test_a_name_that_does_not_resolve_costs_no_scan_its_score(scenario, proxy):
    """A worker whose resolver fails rejects nothing, and other workers finish the run."""
    right = scenario.world.env["AWS_ENDPOINT_URL_S3"]
    scenario.enqueue()
    scenario.world.env["AWS_ENDPOINT_URL_S3"] = f"http://store.invalid:{proxy.port}"
    lost = scenario.worker()
    wait_until(
        lambda: "returns to the queue: the endpoint does not answer" in scenario.world.logs(), 60, scenario.world.logs()
    )
    time.sleep(scenario.rng.uniform(1, 5))
    assert scenario.decided() == 0
    lost.terminate()
    assert lost.wait(40) == 0
    scenario.world.env["AWS_ENDPOINT_URL_S3"] = right
    start_workers(scenario)
    scenario.recovers("S3: its name does not resolve", since=time.monotonic(), stated=10)
    scenario.finish()
    scenario.check()


def without(scenario, names, tmp_path):
    """The outcomes of a quiet run without these images."""
    home = tmp_path / "without"
    world = World(home=home, env={"CXR_HOME": str(home), "CXR_RUNTIME": "tests.support.hash_scorer:HashScorer"})
    home.mkdir()
    (home / "models").symlink_to(scenario.world.home / "models")
    for name in names:
        (scenario.csv.parent / "images" / name).unlink()
    assert world.producer("run", "--csv", scenario.csv, check=False).returncode == 3
    return run_results(world, 1)


def some_names(scenario):
    return sorted(scenario.rng.sample([name_of(number) for number in range(SCANS)], 7))


def test_only_deleted_objects_are_missing(scenario, s3, bucket, prefix, tmp_path):
    """The objects were listed when the run was opened and deleted afterwards."""
    scenario.enqueue()
    gone = some_names(scenario)
    for name in gone:
        client_of(s3).delete_object(Bucket=bucket, Key=f"{prefix}/{name}")
    start_workers(scenario)
    scenario.recovers("S3: 404 for deleted objects", since=time.monotonic(), stated=10)
    scenario.finish()
    scenario.check(quiet=without(scenario, gone, tmp_path))


def test_only_denied_objects_are_rejected(scenario, proxy, tmp_path):
    """The store's own 403 for some keys rejects only these scans, because others were read."""
    refused = some_names(scenario)
    proxy.choose = lambda key: s3_proxy.denied if key.rpartition("/")[2] in refused else None
    scenario.start()
    scenario.recovers("S3: 403 for some objects", since=time.monotonic(), stated=10)
    scenario.finish()
    assert proxy.spoiled["403 AccessDenied"] >= len(refused)
    quiet = without(scenario, refused, tmp_path)
    as_refused = {name: ("rejected", "s3", *quiet.outcomes[name][2:]) for name in refused}
    scenario.check(quiet=dataclasses.replace(quiet, outcomes=quiet.outcomes | as_refused))


def test_an_object_overwritten_during_a_run_is_scored_from_one_whole_version(scenario, s3, bucket, prefix):
    """It is scored as it was listed or rejected as `changed`, and the next run scores what it was overwritten with."""
    client, other = client_of(s3), name_of(0)
    data = (scenario.csv.parent / "images" / other).read_bytes()
    scenario.start()
    changed = some_names(scenario)
    for name in changed:
        client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data)
    assert scenario.pending() > 0
    scenario.recovers("S3: objects overwritten", since=time.monotonic(), stated=10)
    scenario.finish()
    found, quiet = run_results(scenario.world, 1).outcomes, scenario.quiet.outcomes
    rejected = {name for name in changed if found[name][:2] == ("rejected", "changed")}
    assert found == quiet | {name: found[name] for name in rejected}, "I3"

    scenario.enqueue()
    scenario.finish()
    assert run_results(scenario.world, 2).outcomes == quiet | dict.fromkeys(changed, quiet[other])
    revised = "SELECT s.image_name FROM outcomes o JOIN scans s ON s.id = o.scan_id WHERE o.revision = 2"
    assert {name for (name,) in scenario.world.rows(revised)} == {*changed} - {other}
