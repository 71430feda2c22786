"""A user without a home folder, or with one that it may not write, gets one sentence that names CXR_HOME."""

import os
import shutil
import subprocess
import sys

import pytest

from db.engine.session import make_engine, upgrade
from tests.support.world import hash_artifact

#: Nobody's. It may read everything, as Python itself may lie in root's home, and write only what is its own.
UID = 54321
AS_USER = (
    *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
COMMANDS = [
    ("db", "upgrade"),
    ("producer.cli", "status"),
    ("producer.cli", "nightly", "--now", "--csv", "x.csv"),
    ("worker.cli", "start", "--gpus", "none"),
    ("worker.cli", "health"),
    ("trainer.cli", "evaluate", "--model", "m", "--csv", "x.csv"),
]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can run a command as another user"
)


def run(*command, **env):
    """Run a command as a user who is in no list of users and has no HOME."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_RUNTIME_DIR")}
    arguments = [*AS_USER, sys.executable, "-m", *command]
    return subprocess.run(arguments, env={**kept, **env}, capture_output=True, text=True, timeout=120, check=False)


def sentence(done):
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_home_each_command_asks_for_one(command):
    """The password database does not know the user of many a container."""
    assert sentence(run(*command)) == "error: CXR_HOME: this user has no home folder; set CXR_HOME to an absolute path"


def test_with_cxr_home_such_a_user_lacks_nothing(tmp_path):
    """Then no command looks for another home."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    assert "no run yet" in run("producer.cli", "status", CXR_HOME=str(home)).stdout
    assert (home / "nightread.sqlite").exists()


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    """By the commands that would make the ledger there."""
    home = str(tmp_path / "home")
    for command in (("db", "upgrade"), ("producer.cli", "status")):
        said = sentence(run(*command, CXR_HOME=home))
        assert said.startswith(
            f"error: {home}/nightread.sqlite: the database cannot be created here (Permission denied)"
        )
        assert "CXR_HOME" in said


def test_a_worker_whose_home_cannot_be_written_names_it(tmp_path, new_postgres):
    """Its ledger is elsewhere; its own broker and its log would be there."""
    upgrade(make_engine(new_postgres))
    hash_artifact(tmp_path / "models")
    env = {"CXR_HOME": str(tmp_path / "home"), "CXR_MODEL_DIR": str(tmp_path / "models")}
    said = sentence(run("worker.cli", "start", "--gpus", "none", CXR_DATABASE_URL=new_postgres, **env))
    assert said.startswith(f"error: {tmp_path}/home")
    assert said.endswith("cannot be written (Permission denied); set CXR_HOME to a folder that this user may write to")
