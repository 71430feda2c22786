"""How every command ends: a result, or one sentence and an exit code."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from db.errors import EXIT_STOPPED, EXIT_USER, UserError, WorkStopped


def printable(text: str) -> str:
    """Without what would steer a terminal: files may be named so, and their names stand in sentences."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def run_command(command: Callable[[], object]) -> None:
    """Run a command line; a person's mistake becomes one sentence on stderr and exit 2, a stop exit 4."""
    try:
        command()
    except SystemExit:
        raise
    except UserError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        sys.exit(EXIT_USER)
    except UnicodeEncodeError:
        # What SQL and UTF-8 files cannot hold came from the command line: everything that is read is checked.
        print("error: an argument or a path is no UTF-8 text", file=sys.stderr)
        sys.exit(EXIT_USER)
    except WorkStopped as error:
        print(printable(f"stopped: {error}"), file=sys.stderr)
        sys.exit(EXIT_STOPPED)
    except Exception as error:
        if (cause := _refusal_of_database(error)) is None:
            raise
        print(printable(f"error: the database does not take it ({cause})"), file=sys.stderr)
        sys.exit(EXIT_USER)


@contextmanager
def stoppable(what_stays: str) -> Iterator[None]:
    """Turn Ctrl+C within into `WorkStopped`, which says what stays."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise WorkStopped(what_stays) from error


def _refusal_of_database(error: Exception) -> str | None:
    """The database's sentence where it is away, full, locked or damaged; None for any other error."""
    # Only once something was raised: `--help` need not import SQLAlchemy.
    from sqlalchemy.exc import DBAPIError

    from db.engine.database_errors import first_line, is_transient

    return first_line(error) if isinstance(error, DBAPIError) and is_transient(error) else None
