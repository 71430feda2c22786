"""Atomic writes: a file or a folder appears under its name whole, or not at all.

In `CXR_HOME` only its owner may read it. Elsewhere it is there because a person asked for it, and gets what this
person's umask allows, but never more than its folder grants.
"""

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from db.errors import UserError
from db.home import persons_umask
from db.settings import Settings, load_settings

#: The mode of a file that only its owner may read and write.
PRIVATE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


@contextmanager
def open_atomically(path: Path, *, mode: int | None = None, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a file that replaces the one at `path` once it is whole: a reader sees the old content or the new.

    It is written under a temporary, hidden name beside `path`, which is removed if anything is raised.

    Args:
        path: where the file appears, in a folder that exists.
        mode: the file's permissions; the default depends on its place, see above.
        durable: flush the file to the disk first, so that its content survives a power cut. This costs 1 to 100 ms. It
            is needed only for what no command can write again: everything else here is made from SQL, from images or
            within the next second, or is read with a checksum.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = _temporary_name(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode or PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            if mode is None:
                _set_mode(temporary, _granted_at(path) & 0o666)
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomically(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file with `open_atomically`.

    Raises:
        OSError: the file cannot be written.
    """
    with open_atomically(path, mode=mode) as file:
        file.write(content)


def write_file(path: Path, content: bytes) -> Path:
    """Write a file that a person asked for atomically, and make its folder if that is missing.

    Raises:
        UserError: it cannot be written.
    """
    try:
        make_folder(path.parent)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def write_files(folder: Path, contents: Mapping[str, Iterable[bytes]], *, obsolete: Iterable[str] = ()) -> None:
    """Write each file atomically, and none before all could be written; the last one appears last.

    Args:
        folder: it is made if it is missing.
        contents: the parts of each file by its name.
        obsolete: names of files that are deleted with it.

    Raises:
        OSError: a file cannot be written.
    """
    make_folder(folder)
    with ExitStack() as files:
        # The stack closes them in reverse.
        for name, parts in reversed([*contents.items()]):
            file = files.enter_context(open_atomically(folder / name))
            file.writelines(parts)
            # A full disk shows here, before any file takes its name.
            file.flush()
        for name in obsolete:
            (folder / name).unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder, and its parents, if they are missing.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        _set_mode(path, _granted_at(path))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill with files, which appears at `path` once the block ends.

    It is made under a temporary, hidden name beside `path`, and removed if anything is raised. If another process has
    made `path` meanwhile, its folder stays and this one is removed.

    Raises:
        OSError: the folder cannot be made or renamed.
    """
    temporary = _temporary_name(path)
    try:
        make_folder(path.parent)
        temporary.mkdir(mode=_PRIVATE_FOLDER)
        yield temporary
        # Only the owner may write to it, because anyone who can write to an artifact chooses the model.
        granted = _granted_at(path) & 0o755
        for file in temporary.iterdir():
            _set_mode(file, granted & 0o666)
        _set_mode(temporary, granted)
        _rename_unless_there(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_there(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def _granted_at(path: Path) -> int:
    """What a new folder at this path grants; a file grants the same, but executes nothing."""
    if path.resolve().is_relative_to(load_settings(Settings).home.resolve()):
        return _PRIVATE_FOLDER
    return _PRIVATE_FOLDER | (0o777 & path.parent.stat().st_mode & ~persons_umask())


def _set_mode(path: Path, mode: int) -> None:
    # Where a file system has no modes, its mount decides.
    with contextlib.suppress(OSError):
        # A new folder may have inherited its group from the one above it.
        path.chmod(mode | (stat.S_ISGID & path.stat().st_mode))


def _temporary_name(path: Path) -> Path:
    # Beside the target, because a rename is atomic only within one file system. Unique, because processes in different
    # containers may share a folder and a process number.
    return path.parent / f".{uuid.uuid4().hex}.tmp"
