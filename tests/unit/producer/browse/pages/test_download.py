"""A download that the database breaks off."""

import logging

import anyio
from sqlalchemy import create_engine, text

from producer.browse.pages.download import Download


def test_a_download_that_the_database_breaks_off_stays_incomplete_and_is_one_line_of_log(caplog):
    """The last part says that more follows, so the server ends the connection, and the browser reports a failure."""
    sent = []

    async def send(message):
        sent.append(message)

    with caplog.at_level(logging.ERROR):
        anyio.run(Download(_rows()).stream_response, send)
    assert [message.get("more_body") for message in sent] == [None, True]
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("the database does not answer (no such table: gone): a download broke off; ask for it again", None)
    ]


def _rows():
    yield b"scan_id\n"
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("SELECT * FROM gone"))
