"""Ends every command with a result, or with one sentence and an exit code."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from db.errors import EXIT_STOPPED, EXIT_USER, UserError, WorkStopped
from db.home import command_process
from worker.environment import isolate_process

if TYPE_CHECKING:
    import typer


def printable(text: str) -> str:
    """Replace the characters that control a terminal: an error may quote a file whose name contains them."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def add_version_flag(app: "typer.Typer") -> None:
    """Give a command line the flag `--version`."""
    import typer

    flag = typer.Option("--version", help="Print the version, and exit.", callback=_print_version, is_eager=True)

    @app.callback()
    def read_flags(*, _version: Annotated[bool, flag] = False) -> None:
        """Typer calls this before each command; the flag's own callback does the work."""


def _print_version(*, wanted: bool) -> None:
    if wanted:
        # Imported here, because it takes `--help` 20 ms.
        from importlib.metadata import version

        print(f"nightread {version('nightread')}")
        sys.exit()


def run_command(command: Callable[[], object]) -> None:
    """Run a command. A person's mistake becomes one sentence on stderr and exit code 2, a stop becomes exit code 4."""
    isolate_process()
    try:
        with command_process():
            command()
    except SystemExit:
        raise
    except UserError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        sys.exit(EXIT_USER)
    except UnicodeEncodeError:
        # Only the command line can contain this: everything that is read from files is checked.
        print("error: an argument or a path is not valid UTF-8", file=sys.stderr)
        sys.exit(EXIT_USER)
    except WorkStopped as error:
        print(printable(f"stopped: {error}"), file=sys.stderr)
        sys.exit(EXIT_STOPPED)
    except Exception as error:
        if (sentence := _database_error_sentence(error) or _home_error_sentence(error)) is None:
            raise
        print(printable(f"error: {sentence}"), file=sys.stderr)
        sys.exit(EXIT_USER)


@contextmanager
def stoppable(what_stays: str) -> Iterator[None]:
    """Turn Ctrl+C within the block into `WorkStopped`, whose sentence says what stays."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise WorkStopped(what_stays) from error


def _database_error_sentence(error: Exception) -> str | None:
    """A sentence if the database is unavailable, full, locked or damaged; None for any other error."""
    # Imported only after an error, so that `--help` does not import SQLAlchemy.
    from sqlalchemy.exc import DBAPIError

    from db.engine.database_errors import first_line, is_transient

    if not isinstance(error, DBAPIError) or not is_transient(error):
        return None
    return f"the database is unavailable ({first_line(error)})"


def _home_error_sentence(error: Exception) -> str | None:
    """A sentence if this user may not write to `CXR_HOME`; None for any other error."""
    from db.settings import Settings, load_settings

    if not isinstance(error, OSError) or error.errno not in (errno.EACCES, errno.EROFS):
        return None
    file, home = Path(os.fsdecode(error.filename or "")), load_settings(Settings).home
    if not file.is_absolute() or not (file.is_relative_to(home) or home.is_relative_to(file)):
        return None
    return f"{file}: cannot be written ({error.strerror}); set CXR_HOME to a folder that this user may write to"
