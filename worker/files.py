"""Atomic writes: a file or a folder appears under its name whole, or not at all."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from db.errors import UserError

#: The mode of a file that only its owner may read and write.
PRIVATE: Final = 0o600
#: The mode that `open` gives a file, less the process's umask.
_DEFAULT_MODE: Final = 0o666


@contextmanager
def open_atomically(path: Path, *, mode: int = _DEFAULT_MODE, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a file that replaces the one at `path` once it is whole: a reader sees the old content or the new.

    It is written under a temporary, hidden name beside `path`, which is removed if anything is raised.

    Args:
        path: where the file appears, in a folder that exists.
        mode: the file's permissions, less the umask.
        durable: flush the file to the disk first, so that its content survives a power cut. This costs 1 to 100 ms. It
            is needed only for what no command can write again: everything else here is made from SQL, from images or
            within the next second, or is read with a checksum.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = _temporary_name(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomically(path: Path, content: bytes, *, mode: int = _DEFAULT_MODE) -> None:
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
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    return path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which appears at `path` once the block ends.

    It is made under a temporary, hidden name beside `path`, and removed if anything is raised. If another process has
    made `path` meanwhile, its folder stays and this one is removed.

    Raises:
        OSError: the folder cannot be made or renamed.
    """
    temporary = _temporary_name(path)
    try:
        # Only the owner may write to it, because anyone who can write to an artifact chooses the model.
        temporary.mkdir(mode=0o755, parents=True)
        yield temporary
        _rename_unless_there(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_there(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def _temporary_name(path: Path) -> Path:
    # Beside the target, because a rename is atomic only within one file system. Unique, because processes in different
    # containers may share a folder and a process number.
    return path.parent / f".{uuid.uuid4().hex}.tmp"
