"""Broken folders in CXR_MODEL_DIR stop nothing but themselves: commands and workers go on, and name them."""

import json

import pytest

from tests.support.broken_artifacts import half_copied, taken_name
from tests.support.world import hash_artifact, wait_until, write_csv, write_images


@pytest.fixture
def csv(tmp_path):
    write_images(tmp_path / "images", range(6))
    return write_csv(tmp_path / "sample_labels.csv", range(6))


@pytest.fixture
def broken(world):
    """Two folders beside the active model `good` that cannot be used."""
    good = hash_artifact(world.home / "models", name="good")
    return [break_one(good.folder.parent) for break_one in (half_copied, taken_name)]


def run_beside(world, broken, *command):
    """Run a command that succeeds; it warns once of each broken folder."""
    done = world.producer(*command)
    for folder in broken:
        assert done.stderr.count(f"a model folder is ignored: {folder}: ") == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_commands_go_on_beside_broken_models(world, csv, broken):
    """Only a command that asks for a broken model fails, with that model's sentence; the list shows all."""
    assert "model good" in run_beside(world, broken, "enqueue", "--csv", csv)
    run_beside(world, broken, "model", "activate", "good")
    done = world.producer("enqueue", "--csv", csv, "--model", "other", check=False)
    assert done.returncode == 2
    assert f"error: {broken[0]}: lacks model.keras, split.csv; wait until" in done.stderr
    assert run_beside(world, broken, "model", "list").count("unusable") == 2
    models = json.loads(run_beside(world, broken, "model", "list", "--json"))
    assert [(model["name"], model["id"] is None, model["problem"] is None) for model in models] == [
        ("good", False, True),
        ("other", True, False),
        ("good", True, False),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_workers_and_nights_go_on_beside_broken_models(world, csv, broken):
    """A worker logs each folder once; so does a night, and `run` with its own worker."""
    assert "6  scored" in run_beside(world, broken, "run", "--csv", csv)
    worker = world.worker()
    wait_until(lambda: "loaded: hash" in world.logs(), 60, what=world.logs())
    run_beside(world, broken, "nightly", "--csv", csv, "--now")
    assert worker.poll() is None
    assert world.logs().count("a model folder is ignored: ") == len(broken), world.logs()
