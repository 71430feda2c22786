"""The database of a fleet that is measured."""

from db.engine.session import make_engine, upgrade
from tests.support.postgres import Postgres


class DurablePostgres(Postgres):
    """As an operator leaves it: every commit waits for the disk. Its log says which session spoke."""

    settings = ("max_connections=100", "log_line_prefix=%p|")


def new_database(postgres, name="nightread"):
    """A database with this program's tables; gives its address."""
    postgres.ask(f"CREATE DATABASE {name}")
    engine = make_engine(postgres.url(name))
    upgrade(engine)
    engine.dispose()
    return postgres.url(name)
