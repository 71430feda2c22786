"""The tables never give an id twice."""

from sqlalchemy import delete, select

from db.schema.tables import Base, LabelSet, Model, Outcome, Run, Scan
from tests.support.ledger import enqueue


def test_the_id_of_a_deleted_row_is_never_given_again(engine, tmp_path):
    """By default SQLite gives a new row the id of a deleted one, which a worker may still hold."""

    def ids():
        with engine.connect() as connection:
            return {t: set(connection.execute(select(t.id)).scalars()) for t in (Scan, Outcome, Run, LabelSet, Model)}

    enqueue(engine, tmp_path)
    former = ids()
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(delete(table))
    enqueue(engine, tmp_path)
    for table, now in ids().items():
        assert min(now) > max(former[table]), table.__tablename__
