"""A file or a folder appears whole or not at all, and what failed leaves nothing behind."""

import os
import stat
from contextlib import contextmanager

import pytest

from db.errors import UserError
from db.home import command_process
from worker.files import PRIVATE, new_folder, open_atomically, write_atomically, write_file


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_reader_sees_the_old_content_until_the_new_is_whole(tmp_path):
    """The new content lies beside it, under a hidden name."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with open_atomically(path, durable=True) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert [other.name[0] for other in tmp_path.iterdir() if other != path] == ["."]
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_whatever_is_raised_leaves_the_old_content_and_nothing_else(tmp_path, error):
    """Ctrl+C too."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with pytest.raises(error), open_atomically(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_at_the_last_byte_leaves_nothing(tmp_path, monkeypatch):
    """An error of `replace` is one like any other."""
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_the_mode_of_any_other_unless_stated(tmp_path):
    """A web server may have to read a report; a status file is its owner's."""
    tmp_path.chmod(0o755)
    with umask(0o027):
        write_atomically(tmp_path / "report", b"")
        write_atomically(tmp_path / "status", b"", mode=PRIVATE)
    assert (mode_of(tmp_path / "report"), mode_of(tmp_path / "status")) == (0o640, 0o600)


def test_a_file_that_was_asked_for_gets_its_folder_or_one_sentence(tmp_path):
    """The sentence names the file and the cause."""
    path = tmp_path / "new" / "folder" / "a.json"
    assert write_file(path, b"content") == path
    assert path.read_bytes() == b"content"
    with pytest.raises(UserError, match=rf"^{path}/b: cannot be written \((Not a directory|File exists)\)$"):
        write_file(path / "b", b"content")


def test_a_command_gives_what_was_asked_for_the_persons_permissions(tmp_path):
    """Although the command's own umask is stricter; no more than the folder grants, though."""
    tmp_path.chmod(0o755)
    (tmp_path / "team").mkdir()
    (tmp_path / "team").chmod(0o750)
    with umask(0o022), command_process():
        write_file(tmp_path / "new" / "export", b"")
        write_file(tmp_path / "team" / "new" / "export", b"")
    modes = [mode_of(path) for top in ("new", "team/new") for path in (tmp_path / top, tmp_path / top / "export")]
    assert modes == [0o755, 0o644, 0o750, 0o640]


def test_what_lies_in_the_home_is_private_although_others_may_enter_it(tmp_path, monkeypatch):
    """A link to the home does not change that."""
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    with umask(0o022):
        write_file(tmp_path / "link" / "reports" / "index.html", b"")
        with new_folder(tmp_path / "home" / "models" / "abc") as folder:
            (folder / "split.csv").touch()
    below = {mode_of(path) for path in (tmp_path / "home").rglob("*")}
    assert below == {0o700, 0o600}


def test_a_folder_appears_whole_with_a_mode_that_lets_others_read(tmp_path):
    """Workers may run as another user than the trainer."""
    tmp_path.chmod(0o755)
    path = tmp_path / "models" / "abc"
    with umask(0o002), command_process(), new_folder(path) as folder:
        (folder / "file").write_bytes(b"content")
        assert not path.exists()
    assert (path / "file").read_bytes() == b"content"
    assert (mode_of(path), mode_of(path / "file")) == (0o755, 0o644)
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_finished_never_appears(tmp_path):
    """Nor does anything of it stay."""
    with pytest.raises(ValueError, match="half"), new_folder(tmp_path / "abc") as folder:
        (folder / "file").write_bytes(b"content")
        raise ValueError("half")
    assert list(tmp_path.iterdir()) == []


def test_of_two_folders_the_first_stays(tmp_path):
    """Both hold the same bytes where this is used."""
    with new_folder(tmp_path / "abc") as second:
        (second / "file").write_bytes(b"second")
        with new_folder(tmp_path / "abc") as first:
            (first / "file").write_bytes(b"first")
    assert (tmp_path / "abc" / "file").read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [tmp_path / "abc"]
