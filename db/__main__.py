"""`python -m db upgrade`: bring the database's tables to this program's revision."""

import sys

from db.errors import EXIT_DONE, EXIT_USER, UserError
from db.session import make_engine, newest_revision, upgrade
from db.settings import Settings, load_settings


def main(arguments: list[str]) -> int:
    """Run the one command; anything else gets the usage and exit 2."""
    if arguments != ["upgrade"]:
        print("usage: python -m db upgrade   (the database is CXR_DATABASE_URL)", file=sys.stderr)
        return EXIT_USER
    try:
        upgrade(make_engine(load_settings(Settings).database_url))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER
    print(f"the database's tables are at revision {newest_revision()}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
