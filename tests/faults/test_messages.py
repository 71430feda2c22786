"""Messages that are lost, come often, or are none of ours."""

import time

import pytest


@pytest.mark.short
def test_a_flushed_broker_loses_nothing(stage):
    """FLUSHALL while scans are pending: SQL is the ledger, and the sweep sends them again."""
    stage.start()
    stage.broker.flushall()
    flushed = time.monotonic()
    assert stage.pending() > 0
    # Seen lost twice, a sweep interval apart, and one chunk scored.
    stage.recovers("FLUSHALL", since=flushed, stated=10)
    stage.finish()
    stage.check()
