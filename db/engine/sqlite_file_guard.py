"""Holds an engine to the SQLite file that it began with: one that is gone takes no work, another is opened anew.

SQLite itself goes on with a file that was deleted or renamed: what is committed then is in no folder, and is gone when
the program ends.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

_Identity = tuple[int, int]


def hold_to_one_file(engine: Engine) -> None:
    """Look, before each transaction, whether the file is still the one that the connection has open.

    A transaction fails with an `OperationalError` while there is no file. Where another lies in its place, the
    connection is replaced by one to that.
    """
    file = engine.url.database
    if not file or file == ":memory:" or file.startswith("file:"):
        return
    was_there = False

    @event.listens_for(engine, "do_connect")
    def _do_connect(*_: object) -> None:
        # SQLite would make an empty file.
        if was_there and _identity(file) is None:
            raise _gone()

    @event.listens_for(engine, "connect")
    def _connect(_dbapi: Any, record: Any) -> None:
        nonlocal was_there
        was_there = True
        record.info["file"] = _identity(file)

    @event.listens_for(engine, "checkout")
    def _checkout(_dbapi: Any, record: Any, _proxy: object) -> None:
        now = _identity(file)
        if now is None:
            raise _gone()
        if now != record.info["file"]:
            raise DisconnectionError


def _identity(file: str) -> _Identity | None:
    """Device and inode, or None where there is no file."""
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _gone() -> sqlite3.OperationalError:
    return sqlite3.OperationalError("the database file is gone")
