"""Opening a ledger twice in one process leaves SQLite's locks on its file alone."""

import subprocess
import sys

from db.addresses import sqlite_address
from db.engine.session import open_database, read_transaction

LEAVE_WAL = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode = DELETE')"


def test_a_second_open_in_the_process_releases_no_lock_of_sqlite(tmp_path):
    """The system releases all locks of a process on a file once it closes any descriptor of that file.

    Another process could then take the `-wal` file away from a connection that still writes to it.
    """
    file = tmp_path / "nightread.sqlite"
    with read_transaction(open_database(sqlite_address(file))):
        open_database(sqlite_address(file)).dispose()
        other = subprocess.run([sys.executable, "-c", LEAVE_WAL, file], check=False, capture_output=True, text=True)
    assert "database is locked" in other.stderr
