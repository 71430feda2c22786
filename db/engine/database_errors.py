"""What a database raises: whose fault it is, and how it is said without a value.

Where PostgreSQL refuses a row it quotes the row, and rows hold names of images; such a text must not reach a log.
"""

from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError

#: What was written is at fault, and would be the next time.
_OF_VALUES: Final = (DataError, IntegrityError)


def is_passing(error: DBAPIError) -> bool:
    """Whether no value is at fault: the database is away, full, locked, reads only, is damaged, or is being rebuilt.

    Then no scan is to blame, and what was not committed is done again.
    """
    return not isinstance(error, _OF_VALUES)


def cause_of(error: DBAPIError) -> str:
    """Why, in a few words for a log: SQLite's sentence, which never has a value, or PostgreSQL's name of the error."""
    if error.orig is None:
        return type(error).__name__
    is_sqlite = hasattr(error.orig, "sqlite_errorcode") or type(error.orig).__module__ == "sqlite3"
    return first_line(error) if is_sqlite else type(error.orig).__name__


def first_line(error: DBAPIError) -> str:
    """The database's own sentence, for the person at the terminal."""
    return str(error.orig or error).strip().partition("\n")[0]


def hide_values(engine: Engine) -> None:
    """Cut DETAIL and whatever follows an error's first line, which may quote the row or the key that was refused."""

    @event.listens_for(engine, "handle_error")
    def _cut(context: ExceptionContext) -> None:
        orig, shown = context.original_exception, context.sqlalchemy_exception
        if isinstance(shown, DatabaseError) and orig.args:
            whole = str(orig)
            orig.args = (whole.strip().partition("\n")[0],)
            shown.args = tuple(str(part).replace(whole, str(orig)) for part in shown.args)
