"""Keeps an engine on the SQLite file that its path names: a missing file fails, and a replaced one is reopened.

SQLite itself keeps using a file that was deleted or renamed: whatever it commits then is in no folder, and is lost when
the program ends.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

_Identity = tuple[int, int]


def guard_file(engine: Engine) -> None:
    """Check, before each transaction, whether the path still names the file that the connection has open.

    A transaction fails with an `OperationalError` while there is no file. If the path names another file, a connection
    to that file replaces the old one.
    """
    file = engine.url.database
    if not file or file == ":memory:":
        return
    has_connected = False

    @event.listens_for(engine, "do_connect")
    def _before_connect(*_: object) -> None:
        # SQLite would create an empty file.
        if has_connected and _identity(file) is None:
            raise _missing_file()

    @event.listens_for(engine, "connect")
    def _on_connect(_dbapi: Any, record: Any) -> None:
        nonlocal has_connected
        has_connected = True
        record.info["file"] = _identity(file)

    @event.listens_for(engine, "checkout")
    def _on_checkout(_dbapi: Any, record: Any, _proxy: object) -> None:
        now = _identity(file)
        if now is None:
            raise _missing_file()
        if now != record.info["file"]:
            raise DisconnectionError


def _identity(file: str) -> _Identity | None:
    """Device and inode, or None if there is no file."""
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _missing_file() -> sqlite3.OperationalError:
    return sqlite3.OperationalError("the database file is gone")
