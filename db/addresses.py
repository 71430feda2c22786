"""Paths that settings name: each is absolute and can stand in an address, or is refused."""

import unicodedata
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from db.errors import UserError

_VARIABLE: Final = "CXR_DATABASE_URL"
_IN_MEMORY: Final = ("", ":memory:", "file::memory:")


def absolute_path(path: Path, variable: str) -> Path:
    """A path that means the same in every process: absolute, without `~`.

    Args:
        path: as the user wrote it.
        variable: the setting that holds it, for the error.

    Raises:
        UserError: the user has no home folder, or a character of the path cannot stand in an address or on one line.
    """
    try:
        found = path.expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"{variable}: this user has no home folder; set {variable} to an absolute path") from error
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in str(found)):
        raise UserError(f"{variable}: the path has a control character or is not valid UTF-8; use another folder")
    return found


def sqlite_address(file: Path) -> str:
    """The address of a SQLite file, in which every character of its path stands for itself."""
    # Imported here: the commands of the trainer open no database, and SQLAlchemy takes them 0.2 s.
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


def check_sqlite_address(address: str, *, default: Path) -> None:
    """Refuse a SQLite address that names no file, or another file in each folder. Other addresses pass.

    Args:
        address: the user's `CXR_DATABASE_URL`.
        default: the file that is offered instead of a database in memory.

    Raises:
        UserError: it is refused; the sentence has the address to write instead.
    """
    scheme, _, rest = address.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return
    name, mark, options = (unquote(part) for part in rest.partition("?"))
    path = name.removeprefix("/")
    if path in _IN_MEMORY or "mode=memory" in options:
        raise _refusal("a database in memory ends with its command", str(default))
    if mark or path.startswith("file:"):
        path += "" if "=" in options else mark + options
        raise _refusal("a SQLite address has no options, and a '?' in a path is written %3F", path)
    # With two slashes in all, what follows is a host.
    if not path.startswith("/"):
        raise _refusal("it is not an absolute path, which means the same in every folder", path)


def _refusal(reason: str, path: str) -> UserError:
    file = absolute_path(Path(path.removeprefix("file:")), _VARIABLE)
    return UserError(f"{_VARIABLE}: {reason}; write {sqlite_address(file)}")
