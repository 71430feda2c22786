"""Whichever command comes first, what it writes into the home is its owner's alone."""

import os
import stat
import subprocess
import sys

import pytest

from tests.support.world import World, hash_artifact, write_csv, write_images

#: The functions with which `trainer fit` writes into the home; fitting a model would take a minute.
FIT = """
from pathlib import Path
from db.home import open_home
from db.ledger.scans import FoundImage
from db.settings import load_settings
from trainer.data.decoded_images import load_decoded_images
from trainer.fitting.checkpoint import Checkpoint, CheckpointFile
from worker.entry_point import run_command
from worker.files import write_file
from worker.images.preprocessing import Preprocessing
from worker.settings import ModelSettings

def fit():
    settings = load_settings(ModelSettings)
    open_home(settings.home)
    rule = Preprocessing(height=32, width=32)
    load_decoded_images(settings.trainer_folder / "pixels", [FoundImage(location="/nowhere", version="")], rule)
    checkpoint = CheckpointFile(path=settings.trainer_folder / "fits" / "first.npz", inputs={})
    checkpoint.write(Checkpoint(variables=(), best=(), history=()))
    write_file(settings.trainer_folder / "disagreements" / "first.png", b"")

run_command(fit)
"""
FIRST = {
    "producer": ("-m", "producer.cli", "model", "list"),
    "worker": ("-m", "worker.cli", "check"),
    "worker health": ("-m", "worker.cli", "health"),
    "trainer": ("-c", FIT),
    "db": ("-m", "db", "upgrade"),
}


@pytest.fixture
def world(tmp_path, short_folder):
    """A home that does not exist yet, and the umask of most people, under which others may read a new file."""
    before = os.umask(0o022)
    env = {"CXR_RUNTIME": "tests.support.hash_scorer:HashScorer", "XDG_RUNTIME_DIR": str(short_folder)}
    yield World(home=tmp_path / "home", env={"CXR_HOME": str(tmp_path / "home"), **env})
    os.umask(before)


def python(world, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], env=world.environment, capture_output=True, text=True, timeout=120, check=False
    )


def open_to_others(world):
    """The files of the home, and the folders below it, that others than its owner may use."""
    modes = {path: path.lstat().st_mode for path in world.home.rglob("*")}
    return [str(path) for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077]


@pytest.mark.parametrize("first", FIRST)
def test_the_first_command_makes_a_private_home(world, first):
    """So does the second, which finds the home as the first has left it."""
    said = python(world, *FIRST[first]).stderr
    assert "Traceback" not in said
    assert "warning" not in said
    python(world, *FIRST["db"])
    assert stat.S_IMODE(world.home.stat().st_mode) == 0o700
    assert open_to_others(world) == []


@pytest.mark.parametrize("first", ["producer", "worker", "trainer", "db"])
def test_a_home_that_an_admin_made_wider_is_named_and_its_files_are_private(world, first):
    """One line says how to close it."""
    world.home.mkdir()
    said = python(world, *FIRST[first]).stderr
    assert said.count("warning") == 1
    assert f"close it: chmod 700 {world.home}\n" in said
    assert any(world.home.iterdir())
    assert open_to_others(world) == []


def test_a_run_writes_private_files_into_the_home_and_ordinary_ones_elsewhere(world, tmp_path):
    """Broker, models, logs, pixels and reports are in the home; an export and a report were asked for."""
    tmp_path.chmod(0o755)
    world.home.mkdir()
    world.env["CXR_PIXEL_CACHE_GB"] = "1"
    hash_artifact(tmp_path / "models")
    world.env["CXR_MODEL_DIR"] = str(tmp_path / "models")
    write_images(tmp_path / "images", range(2))
    world.producer("run", "--csv", write_csv(tmp_path / "labels.csv", range(2)))
    world.producer("export", "--out", tmp_path / "scores.csv")
    world.producer("report", "--out", tmp_path / "for" / "colleagues")
    kept = {path.name for path in world.home.iterdir()}
    assert kept >= {"nightread.sqlite", "broker", "fetched-models", "logs", "pixels", "reports"}
    assert open_to_others(world) == []
    asked_for = (
        tmp_path / "scores.csv",
        tmp_path / "for" / "colleagues",
        tmp_path / "for" / "colleagues" / "index.html",
    )
    assert [stat.S_IMODE(path.stat().st_mode) for path in asked_for] == [0o644, 0o755, 0o644]
