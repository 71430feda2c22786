"""Computes the metrics of the latest run again without writing, in its own process so that its use can be measured."""

import sys

from sqlalchemy import text

from db.engine.session import make_engine
from db.metrics.aggregate import aggregate

with make_engine(sys.argv[1]).connect() as connection:
    aggregate(connection, connection.execute(text("SELECT max(id) FROM runs")).scalar_one())
    connection.rollback()
