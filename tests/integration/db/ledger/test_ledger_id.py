"""Each ledger has an id of its own, which it keeps."""

import re

from db.engine.session import open_database
from db.ledger.ledger_id import ledger_id


def test_a_ledger_keeps_its_id_and_shares_it_with_no_other(engine, database_url, tmp_path):
    """Keys in a shared broker are named by it, also after the database was opened and migrated again."""
    found = ledger_id(engine)
    assert re.fullmatch("[0-9a-f]{12}", found)
    again, other = open_database(database_url), open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert ledger_id(again) == found != ledger_id(other)
    again.dispose()
    other.dispose()
