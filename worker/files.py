"""Write a file whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path


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
