"""Files that a command leaves for a person."""

from pathlib import Path

from db.errors import UserError


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
