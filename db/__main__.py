"""`python -m db upgrade` migrates the tables; `grant-read ROLE` lets a role read the views.

Each says which database it means, without its password.
"""

import sys

# `python -m` puts the current folder first, where a file may have the name of a library: its code would be run.
if __name__ == "__main__" and not sys.flags.safe_path and __file__ != f"{sys.path[0]}/db/__main__.py":
    del sys.path[0]

from importlib.metadata import version

from db.engine.session import address_of, head_revision, make_engine, upgrade
from db.errors import EXIT_DONE, EXIT_USER, UserError
from db.home import command_process, open_home
from db.schema.view_grants import grant_read
from db.settings import Settings, load_settings

_USAGE = "usage: python -m db upgrade | grant-read ROLE | --help | --version"


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
            engine = make_engine(settings.database_url)
            upgrade(engine)
            print(f"{address_of(engine)}: the tables are at revision {head_revision()}")
        case ["grant-read", role]:
            url = load_settings(Settings).database_url
            grant_read(url, role)
            print(f"{address_of(make_engine(url))}: {role} may read the views, and no table")
        case ["--help" | "-h"]:
            print(_USAGE)
            print(f"database: {address_of(make_engine(load_settings(Settings).database_url))} (CXR_DATABASE_URL)")
        case ["--version"]:
            print(f"nightread {version('nightread')}")
        case _:
            print(_USAGE, file=sys.stderr)
            return EXIT_USER
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
