"""What is unusual about an image is noted in its outcome, on both databases."""

from dataclasses import replace

from sqlalchemy import select

from db.close_run import close_finished_runs
from db.ledger.outcomes import Rejected, record_outcomes
from db.schema.tables import Outcome, RunScan
from tests.support.ledger import enqueue, ids_of, scored


def notes_of(engine, run):
    with engine.connect() as connection:
        outcomes = select(Outcome.notes).join(RunScan, RunScan.outcome_id == Outcome.id).order_by(Outcome.id)
        return connection.execute(outcomes.where(RunScan.run_id == run)).scalars().all()


def test_the_codes_of_an_outcome_are_joined_and_a_later_run_shows_them(engine, tmp_path):
    """No code is NULL; whichever run reuses the outcome, it is the same image."""
    first, _ = enqueue(engine, tmp_path)
    one, two, three, four = ids_of(engine, first)
    outcomes = [
        replace(scored(one), notes=("colour",)),
        replace(scored(two), notes=("colour", "other")),
        scored(three),
        Rejected(outcome_id=four, reason="colour", detail="x"),
    ]
    with engine.begin() as connection:
        record_outcomes(connection, outcomes)
    close_finished_runs(engine)
    assert notes_of(engine, first) == ["colour", "colour,other", None, None]
    second, joined = enqueue(engine, tmp_path)
    assert not joined
    assert notes_of(engine, second) == notes_of(engine, first)
