"""The id of a ledger, by which the broker's keys, queues and messages name it."""

from sqlalchemy import Engine, select

from db.engine.session import read_transaction
from db.schema.tables import Ledger


def ledger_id(engine: Engine) -> str:
    """The 12 hex digits that were drawn when the ledger was made. A copy or a restored backup has the same."""
    with read_transaction(engine) as connection:
        return connection.execute(select(Ledger.id)).scalar_one()
