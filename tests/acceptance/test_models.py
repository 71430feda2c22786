"""Models are published from one machine to the store of others, and removed from it."""

import json
import shutil

import pytest

from tests.support.ledger import score_all
from tests.support.s3_server import client_of
from tests.support.world import EMBEDDED, hash_artifact, write_images

pytestmark = pytest.mark.parametrize("world", [EMBEDDED], indirect=True)


@pytest.fixture
def laptop(tmp_path):
    """A folder of models that no command looks into."""
    return tmp_path / "laptop"


def refused(world, *arguments):
    """Run a command that ends with code 2, and return its sentence."""
    done = world.producer(*arguments, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    return done.stderr


@pytest.mark.parametrize("store", ["folder", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_model_is_published_once(world, laptop, tmp_path, request, store):
    """Into a folder or a bucket: it is registered, and again is no change; its name is refused to other bytes."""
    if store == "s3":
        world.env |= request.getfixturevalue("s3") | {"CXR_MODEL_DIR": "s3://published/models"}
        client_of(world.env).create_bucket(Bucket="published")
    first, second = hash_artifact(laptop, name="first"), hash_artifact(laptop, name="second", model=b"2")
    assert "(" + first.sha256[:12] + ") was copied to" in world.producer("model", "publish", first.folder).stdout
    assert "'producer model activate second'" in world.producer("model", "publish", second.folder).stdout
    assert "already" in world.producer("model", "publish", first.folder).stdout
    again = json.loads(world.producer("model", "publish", first.folder, "--json").stdout)
    assert (again["name"], again["active"], again["copied"]) == ("first", True, False)
    assert world.rows("SELECT name FROM models ORDER BY id") == [("first",), ("second",)]
    other = hash_artifact(tmp_path / "other", name="first", model=b"other")
    assert "belongs to another model" in refused(world, "model", "publish", other.folder)
    assert len(json.loads(world.producer("model", "list", "--json").stdout)) == 2


def test_what_is_not_a_whole_model_is_not_published(world, laptop):
    """A folder without a manifest, and one with a damaged file; the store stays as it is."""
    folder = hash_artifact(laptop).folder
    assert "manifest.json" in refused(world, "model", "publish", laptop)
    (folder / "model.keras").write_bytes(b"half")
    assert "damaged" in refused(world, "model", "publish", folder)
    assert not (world.home / "models").exists()


@pytest.mark.slow
def test_a_removed_model_leaves_its_scores_and_can_come_back(world, laptop, tmp_path):
    """Its files go; a run, a report and its name stay in the ledger; a run with it says what happened to it."""
    write_images(tmp_path / "images", range(2))
    source = ("--images", tmp_path / "images")
    made = [hash_artifact(laptop, name=name, model=name.encode()) for name in ("old", "new")]
    for artifact in made:
        world.producer("model", "publish", artifact.folder)
    world.producer("enqueue", *source)
    assert "old is the active one" in refused(world, "model", "remove", "old", "--yes")
    world.producer("model", "activate", "new")
    assert "scans wait for it (2)" in refused(world, "model", "remove", "old", "--yes")
    score_all(world.engine, 1)
    assert "add --yes" in refused(world, "model", "remove", "old")
    assert (world.home / "models" / made[0].sha256[:12]).is_dir()
    printed = world.producer("model", "remove", "old", "--yes").stdout
    assert "the ledger keeps its 1 run and 2 outcomes, so its name stays taken" in printed
    assert [path.name for path in (world.home / "models").iterdir()] == [made[1].sha256[:12]]
    assert world.producer("report", "--run", "1").returncode == 0
    for command in (("enqueue", *source, "--model", "old"), ("model", "activate", "old")):
        assert "model old" in (sentence := refused(world, *command))
        assert "was removed" in sentence
    assert [model["removed"] for model in json.loads(world.producer("model", "list", "--json").stdout)] == [True, False]
    shutil.copytree(made[0].folder, world.home / "models" / made[0].sha256[:12])
    assert "nothing to score" in world.producer("enqueue", *source, "--model", "old").stdout


def test_a_model_that_never_scored_is_removed_with_its_row(world, laptop):
    """Its name is free for another fit."""
    for name in ("active", "fit"):
        world.producer("model", "publish", hash_artifact(laptop, name=name, model=name.encode()).folder)
    removed = json.loads(world.producer("model", "remove", "fit", "--yes", "--json").stdout)
    assert (removed["name"], removed["is_kept"]) == ("fit", False)
    assert world.rows("SELECT name FROM models") == [("active",)]
    world.producer("model", "publish", hash_artifact(laptop, name="fit", model=b"another").folder)
    assert "no model 'gone' is registered" in refused(world, "model", "remove", "gone", "--yes")
