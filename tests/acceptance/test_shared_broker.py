"""Two ledgers share one database of a broker and one model, and neither sees the other's work."""

import json

import pytest
import redis

from tests.support.world import World, hash_artifact, wait_until, write_csv, write_images

SCANS = range(24)


@pytest.fixture
def ledgers(tmp_path, valkey_port):
    """Two worlds, each with a SQLite file, and the scans of one in another order than those of the other."""
    redis.Redis(port=valkey_port).flushall()
    hash_artifact(tmp_path / "models")
    write_images(tmp_path / "images", SCANS)
    worlds = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        env = {
            "CXR_HOME": str(tmp_path / name),
            "CXR_MODEL_DIR": str(tmp_path / "models"),
            "CXR_BROKER_URL": f"redis://127.0.0.1:{valkey_port}/0",
            "CXR_RUNTIME": "tests.support.hash_scorer:HashScorer",
            "CXR_SWEEP_INTERVAL": "1",
            "CXR_CHUNK_SIZE": "4",
        }
        worlds.append(World(home=tmp_path / name, env=env))
    yield worlds
    for world in worlds:
        world.stop()


def pending(world):
    return world.rows("SELECT count(*) FROM outcomes WHERE state = 'pending'")[0][0]


@pytest.mark.slow
def test_two_ledgers_with_one_model_on_one_broker_each_finish_their_run(ledgers, tmp_path):
    """A worker receives only chunks of its own ledger, in which an outcome's id means the scan that it scores."""
    # The second one's chunks wait in front of the first one's.
    for world, numbers in zip(reversed(ledgers), (reversed(SCANS), SCANS), strict=True):
        csv = write_csv(tmp_path / f"{world.home.name}.csv", numbers)
        world.producer("enqueue", "--csv", csv, "--images", tmp_path / "images")
    first, second = ledgers
    first.worker()
    wait_until(lambda: pending(first) == 0, 60, first.logs())
    assert pending(second) == len(SCANS), "a worker of another ledger took its chunks"
    second.worker()
    wait_until(lambda: pending(second) == 0, 60, second.logs())
    assert "message dropped" not in first.logs() + second.logs()
    for world in ledgers:
        assert world.rows("SELECT count(*) FROM scores") == [(len(SCANS),)]
        # The other ledger's worker is not shown.
        assert len(json.loads(world.producer("status", "--json").stdout)["workers"]) == 1
