"""`python -m db upgrade` migrates the tables; `grant-read ROLE` lets a role read the views."""

import sys

# `python -m` puts the current folder first, where a file may have the name of a library: its code would be run.
if __name__ == "__main__" and not sys.flags.safe_path and __file__ != f"{sys.path[0]}/db/__main__.py":
    del sys.path[0]

from db.engine.session import head_revision, make_engine, upgrade
from db.errors import EXIT_DONE, EXIT_USER, UserError
from db.home import command_process, open_home
from db.schema.view_grants import grant_read
from db.settings import Settings, load_settings

_USAGE = "usage: python -m db upgrade | grant-read ROLE   (the database is CXR_DATABASE_URL)"


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code; any other arguments print the usage and return 2."""
    with command_process():
        try:
            return _run(arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_USER


def _run(arguments: list[str]) -> int:
    match arguments:
        case ["upgrade"]:
            settings = load_settings(Settings)
            if settings.database_url.startswith("sqlite"):
                open_home(settings.home)
            upgrade(make_engine(settings.database_url))
            print(f"the database's tables are at revision {head_revision()}")
        case ["grant-read", role]:
            grant_read(load_settings(Settings).database_url, role)
            print(f"{role} may read the views, and no table")
        case _:
            print(_USAGE, file=sys.stderr)
            return EXIT_USER
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
