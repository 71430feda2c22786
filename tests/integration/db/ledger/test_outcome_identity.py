"""An outcome is written only while it means the work that the worker asked for."""

from dataclasses import replace

import pytest
from sqlalchemy import insert, select, text

from db.ledger.outcomes import Rejected, count_attempt, forgive_attempt, record_outcomes
from db.schema.tables import Outcome, Scan, Scores
from tests.support.ledger import enqueue, ids_of, pending_scan, scored

#: What may differ under the id of an outcome when a ledger was restored under a worker.
CHANGES = {
    "scan_id": "UPDATE outcomes SET scan_id = (SELECT max(id) FROM scans WHERE dataset = 'spare') WHERE id = :id",
    "model_sha256": "UPDATE models SET sha256 = 'another'",
    "revision": "UPDATE outcomes SET revision = 2 WHERE id = :id",
    "location": "UPDATE outcomes SET location = '/elsewhere.png' WHERE id = :id",
}


def held_by_a_worker(engine, tmp_path):
    """What a worker asked for: the first pending outcome of a new run."""
    run, _ = enqueue(engine, tmp_path)
    return pending_scan(engine, ids_of(engine, run)[0])


@pytest.mark.parametrize("changed", CHANGES)
def test_an_outcome_that_means_other_work_now_stays_as_it_is(engine, tmp_path, changed):
    """Neither a score, nor a rejection, nor an attempt is written to another scan, model, revision or image."""
    held = held_by_a_worker(engine, tmp_path)
    with engine.begin() as connection:
        spare = {"dataset": "spare", "image_name": "spare.png", "location": held.location}
        connection.execute(insert(Scan), [spare])
        connection.execute(text(CHANGES[changed]), {"id": held.outcome_id})
        asked = {held.outcome_id: held}
        for outcome in (scored(held.outcome_id), Rejected(outcome_id=held.outcome_id, reason="empty", detail="x")):
            assert record_outcomes(connection, [outcome], asked=asked).count == 0
        assert count_attempt(connection, held)
        assert connection.execute(select(Scores.outcome_id)).all() == []
        mine = select(Outcome.state, Outcome.attempts).where(Outcome.id == held.outcome_id)
        assert connection.execute(mine).all() == [("pending", 0)]


def test_a_batch_is_recorded_except_for_what_means_other_work(engine, tmp_path):
    """One replaced scan does not cost the others their scores."""
    run, _ = enqueue(engine, tmp_path)
    asked = {key: pending_scan(engine, key) for key in ids_of(engine, run)}
    first, *others = asked
    asked[first] = replace(asked[first], location=None)
    with engine.begin() as connection:
        assert record_outcomes(connection, [scored(key) for key in asked], [run], asked=asked).count == len(others)
        assert connection.execute(select(Scores.outcome_id).order_by(Scores.outcome_id)).scalars().all() == others


def test_only_the_counted_scan_is_forgiven(engine, tmp_path):
    """An attempt is taken back from the scan that it was counted against."""
    held = held_by_a_worker(engine, tmp_path)
    attempts = select(Outcome.attempts).where(Outcome.id == held.outcome_id)
    with engine.begin() as connection:
        count_attempt(connection, held)
        forgive_attempt(connection, replace(held, location="/elsewhere.png"))
        assert connection.execute(attempts).scalar() == 1
        forgive_attempt(connection, held)
        assert connection.execute(attempts).scalar() == 0
