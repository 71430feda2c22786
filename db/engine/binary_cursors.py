"""psycopg cursors whose results are binary.

As text, results depend on settings that a role, a database or a pooler may have: `DateStyle`, `extra_float_digits` and
others.
"""

from typing import Any

from psycopg import Connection, Cursor, ServerCursor
from psycopg.abc import Buffer
from psycopg.pq import Format
from psycopg.types.array import ArrayBinaryLoader


class _BinaryCursor(Cursor[Any]):
    """A cursor of the client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.format = Format.BINARY


class _BinaryServerCursor(ServerCursor[Any]):
    """A cursor of the server, for queries that return many rows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.format = Format.BINARY


class _VectorLoader(ArrayBinaryLoader):
    """Loads an `int2vector` of the catalogue as SQLAlchemy's inspector expects it: as text."""

    def load(self, data: Buffer) -> Any:
        """Numbers with a space in between."""
        return " ".join(map(str, super().load(data)))


def use_binary_results(connection: Connection[Any]) -> None:
    """Let all further cursors of a connection return binary results."""
    connection.cursor_factory = _BinaryCursor
    connection.server_cursor_factory = _BinaryServerCursor
    connection.adapters.register_loader("int2vector", _VectorLoader)
