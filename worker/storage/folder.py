"""Lists and reads folders, with links, pipes, folders named like images, and names of any bytes."""

import errno
import filecmp
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from db.errors import PermanentError, TemporaryError, UserError
from db.ledger.scans import FoundImage
from worker.storage.matching import Candidate, LeftOut, can_store_name, has_image_name
from worker.storage.range_reader import RangeReader
from worker.storage.size_limit import MAX_FILE_BYTES, too_large
from worker.storage.versions import Version

#: Errors that do not pass by waiting. ENXIO: a socket. EIO: a bad sector, which would keep a run open for ever.
_PERMANENT_ERRNOS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV, errno.EIO}
)
#: Opening a pipe must not wait for its writer. A link is not followed, because it may lead out of the folder.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Bytes of each further read of a file whose size is not what `fstat` said.
_READ_BYTES: Final = 2**20
#: Bytes of each read of a header. Most headers are shorter.
_HEADER_BYTES: Final = 2**13


def list_folder(root: Path, *, recursive: bool) -> Iterator[Candidate]:
    """Yield every file under a folder. Hidden folders and links to folders are not entered.

    A link to a file within the folder is yielded with that file's location. Any other link is yielded as itself, and
    `read_file` refuses it. A subfolder that cannot be listed is yielded as left out; so is a link to a folder, unless
    it is named like an image.

    Raises:
        UserError: the folder cannot be listed.
    """
    top = root.absolute()
    real_top = top.resolve()
    if not can_store_name(str(top)):
        raise UserError(f"{str(top)!r}: cannot be listed (its name is not valid UTF-8)")
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            for entry in _entries(top / prefix):
                name = prefix + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and recursive and not entry.name.startswith("."):
                    waiting.append(f"{name}/")
                if has_image_name(name) or not (is_folder or (recursive and _is_linked_folder(entry))):
                    yield name, partial(_describe, entry, top, real_top)
                elif not is_folder:
                    yield name, LeftOut.SYMLINKED_FOLDER
        except OSError as error:
            if not prefix:
                raise UserError(f"{root}: cannot be listed ({error.strerror})") from error
            yield prefix, LeftOut.UNREADABLE_FOLDER


def list_file(file: Path) -> Iterator[Candidate]:
    """Yield one file as `list_folder` yields it of its folder.

    Raises:
        UserError: the path is not valid UTF-8.
    """
    top = file.absolute().parent
    if not can_store_name(str(top)):
        raise UserError(f"{str(file)!r}: cannot be used (its path is not valid UTF-8)")
    yield file.name, partial(_describe, top / file.name, top, top.resolve())


def read_file(path: str, version: str | None = None) -> bytes:
    """The bytes of a regular file.

    Args:
        path: of the file.
        version: as it was listed (`stat:SIZE-MODIFIED`, see `Version`); None takes any.

    Raises:
        PermanentError: `missing`, `unreadable` or `too_large`; `changed` if the file has another version now.
        TemporaryError: the disk did not answer.
    """
    with _opened(path) as (descriptor, found):
        if found.st_size > MAX_FILE_BYTES:
            raise too_large(found.st_size)
        data = read_all(descriptor, found.st_size)
        # Asked again: it may have been written to while it was read.
        _check_version(descriptor, version)
        return data


def _check_version(descriptor: int, version: str | None) -> None:
    if version is not None and not Version.parse(version).may_be(_version(os.fstat(descriptor))):
        raise PermanentError("changed", "the file was changed after it was listed")


@contextmanager
def open_ranges(path: str, version: str | None) -> Iterator[RangeReader]:
    """Open a regular file to read parts of it.

    Raises:
        PermanentError, TemporaryError: see `read_file`; also while it is read.
    """
    with _opened(path) as (descriptor, found):

        def read_range(start: int, count: int) -> bytes:
            try:
                data = os.pread(descriptor, count, start)
            except OSError as error:
                raise _refusal(error) from error
            _check_version(descriptor, version)
            return data

        yield RangeReader(read_range, found.st_size, _HEADER_BYTES)


@contextmanager
def _opened(path: str) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file; yields its descriptor and what is known of it."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise PermanentError("unreadable", "the scan's location is not a regular file")
            yield descriptor, found
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise PermanentError("missing", "there is no file at the scan's location") from error
    except ValueError as error:
        raise PermanentError("unreadable", "the scan's location is not a valid path") from error
    except OSError as error:
        raise _refusal(error) from error


def read_all(descriptor: int, size: int) -> bytes:
    """The rest of an open file, which is usually `size` bytes long.

    This takes a third of the system calls of Python's own reader. After each call a thread waits for the GIL.
    """
    # One byte more than expected is requested. If it does not come, the file has ended.
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    parts = [data]
    while parts[-1]:
        parts.append(os.read(descriptor, _READ_BYTES))
    return b"".join(parts)


def same_file_bytes(one: str, other: str) -> bool:
    """Whether two files hold the same bytes; False if one cannot be read."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        yield from entries


def _is_linked_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        # A loop of links, or one into a folder that is closed.
        return False


def _describe(entry: "os.DirEntry[str] | Path", top: Path, real_top: Path) -> FoundImage:
    try:
        if not entry.is_symlink():
            return FoundImage(location=os.fspath(entry), version=str(_version(entry.stat())))
        target = Path(entry).resolve(strict=True)
        if target.is_relative_to(real_top):
            inside = top / target.relative_to(real_top)
            return FoundImage(location=str(inside), version=str(_version(target.stat())))
    except (OSError, RuntimeError):
        # The file is gone, or the link dangles or is a loop. Reading it will report that.
        pass
    return FoundImage(location=os.fspath(entry))


def _version(found: os.stat_result) -> Version:
    return Version(size=found.st_size, modified=found.st_mtime_ns)


def _refusal(error: OSError) -> PermanentError | TemporaryError:
    if error.errno == errno.ELOOP:
        return PermanentError(
            "unreadable", "the scan's location is a link that is not followed, because it may leave the folder"
        )
    if error.errno in _PERMANENT_ERRNOS:
        return PermanentError("unreadable", f"the image cannot be read ({error.strerror})")
    return TemporaryError(f"the disk did not answer ({error.strerror})")
