"""How every command ends: a result, or one sentence and an exit code."""

import sys
from collections.abc import Callable

from db.errors import EXIT_STOPPED, EXIT_USER, Stopped, UserError


def run_command(command: Callable[[], object]) -> None:
    """Run a command line; a person's mistake becomes one sentence on stderr and exit 2, a stop exit 4."""
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER)
    except Stopped as error:
        print(f"stopped: {error}", file=sys.stderr)
        sys.exit(EXIT_STOPPED)
