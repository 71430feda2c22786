"""Computes the metrics of the latest run again, and writes nothing: a process of its own, so that it can be weighed."""

import sys

from sqlalchemy import text

from db.engine.session import make_engine
from db.metrics.aggregate import aggregate

with make_engine(sys.argv[1]).connect() as connection:
    aggregate(connection, connection.execute(text("SELECT max(id) FROM runs")).scalar_one())
    connection.rollback()
