"""The database of a measured fleet."""

from db.engine.session import make_engine, upgrade
from tests.support.postgres import Postgres


class DurablePostgres(Postgres):
    """A server with default durability: every commit waits for the disk. Its log names the session of each line."""

    settings = ("max_connections=100", "log_line_prefix=%p|")


def new_database(postgres, name="nightread"):
    """Create a database with this program's tables, and return its URL."""
    postgres.ask(f"CREATE DATABASE {name}")
    engine = make_engine(postgres.url(name))
    upgrade(engine)
    engine.dispose()
    return postgres.url(name)
