"""What a command writes is its owner's alone, and a home that others may enter is named."""

import os
import stat

import pytest

from db.engine.session import open_database
from db.home import command_process, open_home, persons_files, persons_umask


@pytest.fixture(autouse=True)
def _umask():
    """The umask of most people, under which others may read a new file."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_is_its_owners(tmp_path, capsys):
    """So are the folders above it that were missing; the command says where it is and warns of nothing."""
    with command_process():
        open_home(tmp_path / "a" / "home")
    assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "home")) == (0o700, 0o700)
    assert capsys.readouterr().err == f"home: {tmp_path / 'a' / 'home'}\n"


def test_a_home_that_others_may_enter_is_left_as_it_is_and_named(tmp_path, capsys):
    """The warning ends with the command that closes it."""
    home = tmp_path / "the home"
    home.mkdir()
    open_home(home)
    assert mode_of(home) == 0o755
    assert (
        capsys.readouterr().err.splitlines()[1].endswith(f"mode 0755 lets other users in; close it: chmod 700 '{home}'")
    )


def test_files_are_private_during_a_command_and_a_persons_own_where_asked(tmp_path):
    """A command within a command knows the person's umask, too; afterwards everything is as before."""
    with command_process(), command_process():
        (tmp_path / "private").touch()
        with persons_files():
            (tmp_path / "asked for").touch()
        assert persons_umask() == 0o022
    (tmp_path / "after").touch()
    assert [mode_of(tmp_path / name) for name in ("private", "asked for", "after")] == [0o600, 0o644, 0o644]


def test_unknown_variables_are_warned_of_once(monkeypatch, capsys):
    """A process that a command starts does not repeat the warning."""
    monkeypatch.setenv("CXR_CHUNK", "12")
    with command_process(), command_process():
        pass
    assert capsys.readouterr().err == "warning: CXR_CHUNK is not a setting; did you mean CXR_CHUNK_SIZE?\n"


def test_sqlites_files_are_private_whatever_the_umask(tmp_path):
    """Programs that open the ledger without a command of ours do not open it to others."""
    engine = open_database(f"sqlite:///{tmp_path / 'nightread.sqlite'}")
    with engine.begin():
        modes = {path.name: mode_of(path) for path in tmp_path.iterdir()}
    engine.dispose()
    assert {"nightread.sqlite", "nightread.sqlite-wal", "nightread.sqlite.migrating"} <= modes.keys()
    assert set(modes.values()) == {0o600}
