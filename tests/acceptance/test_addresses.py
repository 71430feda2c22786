"""Every folder's name works as CXR_HOME, or is refused; a SQLite address names one file, whatever folder is current."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.world import World, hash_artifact, wait_until, write_csv, write_images

#: Each has characters that mean something in an address, to a shell, in a configuration file or on the terminal.
NAMES = ["My%20Drive", "ward?a=1&b", "#3 @north:south;[x] 放射線 :tada:", "'x' \"y\" $z `w` {v} \\u"]
#: Short, because the path of a socket is; all of those characters.
ODD = "%41?a=1&#@:;[ü]'\"$`{\\u b"


@pytest.fixture
def csv(tmp_path):
    write_images(tmp_path / "scans" / "images", range(3))
    return write_csv(tmp_path / "scans" / "sample_labels.csv", range(3))


def home_in(tmp_path, name, **env):
    """A world whose home is a folder of this name."""
    home = tmp_path / "homes" / name
    home.mkdir(parents=True)
    hash_artifact(home / "models")
    runtime = "tests.support.hash_scorer:HashScorer"
    return World(home=home, env={"CXR_HOME": str(home), "CXR_RUNTIME": runtime, "CXR_SWEEP_INTERVAL": "1", **env})


@pytest.mark.parametrize("name", NAMES)
def test_a_home_of_any_name_holds_its_ledger(tmp_path, csv, name):
    """What `enqueue` commits is in that home, `status` shows it there, and no file appears beside it."""
    world = home_in(tmp_path, name)
    world.producer("enqueue", "--csv", csv)
    status = world.producer("status", "--json")
    assert json.loads(status.stdout)["pending"] == 3
    assert f"home: {world.home}\n" in status.stderr
    assert (world.home / "nightread.sqlite").exists()
    assert [path.name for path in world.home.parent.iterdir()] == [name]


def test_two_homes_that_differ_after_a_question_mark_have_two_ledgers(tmp_path, csv):
    """A '?' begins the options of an address; here it is part of the path."""
    home_in(tmp_path, "ward?a").producer("enqueue", "--csv", csv)
    assert "there is no run yet" in home_in(tmp_path, "ward?b").producer("status").stdout


@pytest.mark.slow
def test_a_worker_scores_in_a_home_of_any_name(tmp_path, csv):
    """Its broker's socket lies in a folder of such a name too; the address of the broker has the path in it."""
    with tempfile.TemporaryDirectory(suffix=ODD) as runtime:
        check_worker(home_in(tmp_path, ODD, XDG_RUNTIME_DIR=runtime), csv)
        assert [path.parent for path in Path(runtime).glob("nightread-*")] == [Path(runtime)]


def check_worker(world, csv):
    try:
        world.worker()
        world.producer("enqueue", "--csv", csv)
        wait_until(lambda: world.rows("SELECT scored FROM run_progress") == [(3,)], what="scores\n" + world.logs())
        world.producer("report")
    finally:
        world.stop()


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("sqlite://", "sqlite:///{home}/nightread.sqlite"),
        ("sqlite:///:memory:", "sqlite:///{home}/nightread.sqlite"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "sqlite:///{home}/nightread.sqlite"),
        ("sqlite:///ledger.sqlite", "sqlite:///{cwd}/ledger.sqlite"),
        ("sqlite://ledger.sqlite", "sqlite:///{cwd}/ledger.sqlite"),
        ("sqlite:///file:ledger.sqlite?mode=rwc&uri=true", "sqlite:///{cwd}/ledger.sqlite"),
        ("sqlite:////data/ledger.sqlite?timeout=9", "sqlite:////data/ledger.sqlite"),
        ("sqlite:////data/ward?a/ledger.sqlite", "sqlite:////data/ward%3Fa/ledger.sqlite"),
    ],
)
def test_an_address_that_loses_work_is_refused_with_the_one_to_write(tmp_path, monkeypatch, capsys, url, instead):
    """A database in memory or in the current folder took the work with exit code 0, and the next command had none."""
    from db.__main__ import main

    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CXR_DATABASE_URL", url)
    assert main(["upgrade"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: CXR_DATABASE_URL: ")
    assert sentence.endswith("; write " + instead.format(home=tmp_path / "home", cwd=tmp_path / "cwd"))
    assert [path.name for path in tmp_path.rglob("*")] == ["cwd"]


@pytest.mark.parametrize("name", [b"two\nlines", b"latin-1 \xfc"])
def test_a_home_whose_name_cannot_be_printed_is_refused(tmp_path, name):
    """In one sentence, and nothing is written."""
    env = {**os.environb, b"CXR_HOME": os.fsencode(tmp_path) + b"/" + name}
    command = [sys.executable, "-m", "producer.cli", "status"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: CXR_HOME: the path has a control character or is not valid UTF-8")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_socket_whose_path_is_too_long_is_refused(tmp_path, csv):
    """The system takes 107 bytes; the sentence names the variable, and the work is not half done."""
    runtime = tmp_path / ("long" * 25)
    runtime.mkdir()
    world = home_in(tmp_path, "home", XDG_RUNTIME_DIR=str(runtime))
    done = world.producer("enqueue", "--csv", csv, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "too long for a socket; set XDG_RUNTIME_DIR" in done.stderr.splitlines()[-1]


def test_a_relative_runtime_folder_is_ignored(monkeypatch):
    """As the specification of XDG_RUNTIME_DIR asks: it would be another folder for each process."""
    from worker.messaging.embedded_broker import broker_url
    from worker.settings import WorkerSettings

    monkeypatch.setenv("XDG_RUNTIME_DIR", "run")
    assert broker_url(WorkerSettings()).startswith("redis+socket:///")


def test_a_relative_model_folder_is_made_absolute(tmp_path, monkeypatch):
    """Every process then means the same folder."""
    from worker.settings import ModelSettings

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXR_MODEL_DIR", "models")
    assert ModelSettings().model_dir == str(tmp_path / "models")
