"""The rate of a run, as the ledger's moments tell it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from db.close_run import close_finished_runs
from db.ledger.models import find_model
from db.ledger.runs import rate_of, rate_of_run
from db.schema.tables import Outcome, RunScan
from tests.support.ledger import commit, score_all

BATCH = 32
FIRST = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


def scored_run(engine, tmp_path, scans, *, seconds, **options):
    """Open a run whose scans were scored in batches of 32 at this interval in seconds; give its number."""
    with engine.begin() as connection:
        run_id, _ = commit(connection, tmp_path, count=scans, **options)
    score_all(engine, run_id)
    own = select(RunScan.outcome_id).where(RunScan.run_id == run_id, ~RunScan.reused).order_by(RunScan.outcome_id)
    with engine.begin() as connection:
        for number, outcome_id in enumerate(connection.execute(own).scalars().all()):
            # Within a batch, each scan has a moment of its own.
            moment = FIRST + timedelta(seconds=number // BATCH * seconds, microseconds=number % BATCH)
            connection.execute(update(Outcome).where(Outcome.id == outcome_id).values(scored_at=moment))
    close_finished_runs(engine)
    return run_id


@pytest.mark.parametrize(
    ("scans", "seconds", "rate"),
    [(4, 0, None), (64, 8, None), (128, 1, None), (96, 4, 8), (128, 4, 8), (320, 4, 8)],
    ids=["one batch", "two batches", "three seconds", "three batches", "four batches", "ten batches"],
)
def test_a_rate_is_right_once_two_batches_and_five_seconds_followed_the_first(engine, tmp_path, scans, seconds, rate):
    """The first batch, whose beginning nobody saw, is not counted."""
    run_id = scored_run(engine, tmp_path, scans, seconds=seconds)
    with engine.connect() as connection:
        measured = rate_of_run(connection, run_id)
    assert measured == (None if rate is None else pytest.approx(rate, rel=0.01))


def test_a_models_rate_is_that_of_its_latest_run_that_was_long_enough(engine, tmp_path):
    """The run of one batch after it tells nothing."""
    scored_run(engine, tmp_path, 128, seconds=4)
    scored_run(engine, tmp_path, 132, seconds=0, sha256="b" * 64)
    with engine.connect() as connection:
        assert rate_of_run(connection, 2) is None
        assert rate_of(connection, find_model(connection, None).id) == pytest.approx(8, rel=0.01)
