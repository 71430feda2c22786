"""Folders as they are: links, folders named like images, pipes, names of any bytes."""

import errno
import filecmp
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from db.errors import PermanentError, TemporaryError, UserError
from db.ledger.scans import FoundImage
from worker.storage.matching import Offer, fits_sql, named_like_image
from worker.storage.size_limit import MOST, too_large

#: Waiting mends none of these. ENXIO: a socket. EIO: a bad sector, which would keep a run open for ever.
_HOPELESS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV, errno.EIO}
)
#: A pipe must not wait for its writer, and a link in place of a file is not followed: it may lead out of the folder.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Bytes at a time of a file that has another size than it said.
_PIECE: Final = 2**20


def list_folder(root: Path, *, recursive: bool) -> Iterator[Offer]:
    """Every file under a folder; hidden folders and links to folders are not entered.

    A link to a file within the folder is offered as that file. Any other link is offered as itself, and `read_file`
    refuses it. A subfolder that cannot be listed counts as one file that nobody asked for.

    Raises:
        UserError: the folder cannot be listed.
    """
    top = root.absolute()
    real_top = top.resolve()
    if not fits_sql(str(top)):
        raise UserError(f"{str(top)!r}: cannot be listed (its name is no UTF-8)")
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            for entry in _entries(top / prefix):
                name = prefix + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and recursive and not entry.name.startswith("."):
                    waiting.append(f"{name}/")
                if not is_folder or named_like_image(name):
                    yield name, partial(_look, entry, top, real_top)
        except OSError as error:
            if not prefix:
                raise UserError(f"{root}: cannot be listed ({error.strerror})") from error
            yield prefix, partial(FoundImage, location=str(top / prefix))


def read_file(path: str) -> bytes:
    """The bytes of a regular file.

    Raises:
        PermanentError: `missing`, `unreadable` or `too_large`.
        TemporaryError: the disk did not answer.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise PermanentError("unreadable", "what lies at the scan's location is no regular file")
            if found.st_size > MOST:
                raise too_large(found.st_size)
            return read_all(descriptor, found.st_size)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise PermanentError("missing", "no image is at the scan's location") from error
    except ValueError as error:
        raise PermanentError("unreadable", "the scan's location is not a path that a file can have") from error
    except OSError as error:
        raise _refusal(error) from error


def read_all(descriptor: int, size: int) -> bytes:
    """The rest of an open file, as a rule `size` bytes.

    In a third of the system calls of Python's own reader: after each of them a thread waits for the others'.
    """
    # One byte more is asked for: where just so many come, that is all.
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    parts = [data]
    while parts[-1]:
        parts.append(os.read(descriptor, _PIECE))
    return b"".join(parts)


def same_file_bytes(one: str, other: str) -> bool:
    """Whether two files are copies of one another; not so where one cannot be read."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        yield from entries


def _look(entry: "os.DirEntry[str]", top: Path, real_top: Path) -> FoundImage:
    try:
        if not entry.is_symlink():
            return FoundImage(location=entry.path, version=_version(entry.stat()))
        target = Path(entry.path).resolve(strict=True)
        if target.is_relative_to(real_top):
            inside = top / target.relative_to(real_top)
            return FoundImage(location=str(inside), version=_version(target.stat()))
    except (OSError, RuntimeError):
        # Gone since it was listed, dangling, going round in circles: reading it will say so.
        pass
    return FoundImage(location=entry.path)


def _version(found: os.stat_result) -> str:
    return f"stat:{found.st_size}-{found.st_mtime_ns}"


def _refusal(error: OSError) -> PermanentError | TemporaryError:
    if error.errno == errno.ELOOP:
        return PermanentError("unreadable", "a link in place of the image: not followed, as it may leave the folder")
    if error.errno in _HOPELESS:
        return PermanentError("unreadable", f"the image cannot be read ({error.strerror})")
    return TemporaryError(f"the disk did not answer ({error.strerror})")
