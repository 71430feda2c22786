"""Write a file whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from db.errors import UserError


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once: a reader sees the old content or the new.

    Raises:
        OSError: the disk does not take it.
    """
    descriptor, arriving = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(arriving).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(arriving).unlink()
        raise


def write_file(path: Path, content: bytes) -> Path:
    """Write a file, whole or not at all, and its folder where that is not there.

    Raises:
        UserError: it cannot be written.
    """
    arriving = path.with_name(f".{path.name}.arriving")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving.write_bytes(content)
        arriving.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    return path
