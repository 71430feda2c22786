"""Classifies database errors, and removes row values from their texts.

PostgreSQL quotes the row that it refuses, and rows hold image names; such a text must not reach a log.
"""

from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError

#: The written values are at fault: the same statement would fail again.
_VALUE_ERRORS: Final = (DataError, IntegrityError)


def is_transient(error: DBAPIError) -> bool:
    """Whether no written value is at fault: the database is away, full, locked, read-only, damaged or being rebuilt.

    No scan is to blame then, and the caller repeats whatever was not committed.
    """
    return not isinstance(error, _VALUE_ERRORS)


def cause_of(error: DBAPIError) -> str:
    """The cause in a few words, safe for a log: SQLite's message, which holds no value, or PostgreSQL's error name."""
    if error.orig is None:
        return type(error).__name__
    is_sqlite = hasattr(error.orig, "sqlite_errorcode") or type(error.orig).__module__ == "sqlite3"
    return first_line(error) if is_sqlite else type(error.orig).__name__


def first_line(error: DBAPIError) -> str:
    """The first line of the database's own message, for the user at the terminal."""
    return str(error.orig or error).strip().partition("\n")[0]


def hide_values(engine: Engine) -> None:
    """Cut each error's text after its first line: DETAIL and the lines below may quote the refused row or key."""

    @event.listens_for(engine, "handle_error")
    def _keep_first_line(context: ExceptionContext) -> None:
        original, raised = context.original_exception, context.sqlalchemy_exception
        if isinstance(raised, DatabaseError) and original.args:
            full_text = str(original)
            original.args = (full_text.strip().partition("\n")[0],)
            raised.args = tuple(str(part).replace(full_text, str(original)) for part in raised.args)
