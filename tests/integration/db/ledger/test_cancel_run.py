"""Cancelling a run on both databases: which scans are rejected, which stay, and what workers see."""

import threading
from functools import partial

import pytest
from sqlalchemy import select

from db.close_run import close_finished_runs
from db.errors import UserError
from db.ledger.cancel_run import cancel_run
from db.ledger.outcomes import record_outcomes, still_pending
from db.ledger.runs import find_run, progress
from db.schema.tables import Outcome, RunFindingMetric, Scores
from tests.support.ledger import enqueue, ids_of, scored


def test_cancelling_rejects_pending_scans_and_keeps_recorded_outcomes(engine, tmp_path):
    """The scored scan stays scored, the other three are rejected as `cancelled`, and the run is closed."""
    run, _ = enqueue(engine, tmp_path)
    first = ids_of(engine, run)[0]
    _score(engine, [first])
    assert cancel_run(engine, run) == 3
    assert close_finished_runs(engine) == [], "nobody else closes it"
    now, info = _state_of(engine, run)
    assert (now.scored, now.rejected, now.pending) == (1, 3, 0)
    assert info.cancelled_at is not None
    assert info.cancelled_at == info.finished_at
    with engine.connect() as connection:
        rejected = select(Outcome.reason, Outcome.detail).where(Outcome.state == "rejected").distinct()
        assert connection.execute(rejected).all() == [("cancelled", "its run was cancelled before it was scored")]


def test_a_finished_a_cancelled_and_an_unknown_run_are_refused(engine, tmp_path):
    """Each refusal is one sentence, and changes nothing."""
    run, _ = enqueue(engine, tmp_path)
    with pytest.raises(UserError, match="no run 99"):
        cancel_run(engine, 99)
    cancel_run(engine, run)
    with pytest.raises(UserError, match=f"^run {run} is finished already$"):
        cancel_run(engine, run)


def test_a_worker_that_holds_the_chunk_drops_it(engine, tmp_path):
    """A chunk that it received before has nothing pending, and scores that it writes later are ignored."""
    run, _ = enqueue(engine, tmp_path)
    ids = ids_of(engine, run)
    cancel_run(engine, run)
    with engine.begin() as connection:
        assert still_pending(connection, ids, "m" * 64) == []
        assert record_outcomes(connection, [scored(outcome) for outcome in ids]).count == 0
        assert connection.execute(select(Scores)).all() == []


def test_the_next_enqueue_gives_cancelled_scans_a_new_revision(engine, tmp_path):
    """The same request opens a new run: the scored scan is reused, the cancelled ones are due again."""
    run, _ = enqueue(engine, tmp_path)
    _score(engine, ids_of(engine, run)[:1])
    cancel_run(engine, run)
    again, joined = enqueue(engine, tmp_path)
    assert (again != run, joined) == (True, False)
    now, _ = _state_of(engine, again)
    assert (now.scored, now.pending, now.reused) == (1, 3, 1)
    with engine.connect() as connection:
        pending = select(Outcome.revision).where(Outcome.state == "pending")
        assert connection.execute(pending).scalars().all() == [2, 2, 2]
    assert _state_of(engine, run)[0].rejected == 3, "the cancelled run keeps its own outcomes"


def test_scans_that_another_open_run_waits_for_are_scored_and_count_for_both(engine, tmp_path):
    """Shared outcomes stay pending in the cancelled run, which has no metrics until they are recorded."""
    run, _ = enqueue(engine, tmp_path)
    other, _ = enqueue(engine, tmp_path, sha256="b" * 64)
    ids = ids_of(engine, other)
    assert cancel_run(engine, run) == 0
    assert (ids_of(engine, run), close_finished_runs(engine)) == (ids, [])
    assert _runs_with_metrics(engine) == []
    _score(engine, ids)
    assert close_finished_runs(engine, ids) == [other]
    with engine.begin() as connection:
        assert [progress(connection, each).scored for each in (run, other)] == [4, 4]
    assert _runs_with_metrics(engine) == [run, other]


def test_the_last_of_two_runs_to_be_cancelled_rejects_their_shared_scans(engine, tmp_path):
    """A cancelled run waits for nothing, so it does not keep shared outcomes pending."""
    run, _ = enqueue(engine, tmp_path)
    other, _ = enqueue(engine, tmp_path, sha256="b" * 64)
    assert [cancel_run(engine, run), cancel_run(engine, other)] == [0, 4]
    assert _state_of(engine, run)[0].rejected == 4


def test_cancelling_while_workers_write_records_each_outcome_once(engine, tmp_path):
    """Workers that record the same outcomes in both orders neither deadlock with the canceller nor write twice."""
    for number in range(8):
        run, _ = enqueue(engine, tmp_path, sha256=f"{number}" * 64, rescore=True)
        ids = ids_of(engine, run)
        won = _at_once(*_workers(engine, ids), partial(cancel_run, engine, run))
        assert sum(won) == 4
        now, _ = _state_of(engine, run)
        assert (now.scored + now.rejected, now.pending) == (4, 0)


def test_a_run_that_opens_while_another_is_cancelled_never_waits_for_cancelled_scans(engine, tmp_path):
    """Whichever comes first, the new run's scans are pending, shared or as a new revision."""
    for number in range(8):
        run, _ = enqueue(engine, tmp_path, sha256=f"{number}" * 64, rescore=True)
        cancel = partial(cancel_run, engine, run)
        (opened, _), _ = _at_once(partial(enqueue, engine, tmp_path, sha256="b" * 64), cancel)
        assert _state_of(engine, opened)[0].pending == 4
        cancel_run(engine, opened)


def _workers(engine, ids):
    def work(order):
        done = 0
        for outcome in order:
            done += _score(engine, [outcome])
        return done + _score(engine, order)

    return [partial(work, ids[::step]) for step in (1, -1, 1)]


def _at_once(*tasks):
    """The tasks' results in their order, from threads that start together."""
    returned, errors = [None] * len(tasks), []

    def run(number):
        try:
            returned[number] = tasks[number]()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(tasks))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == []
    return returned


def _score(engine, outcome_ids):
    with engine.begin() as connection:
        return record_outcomes(connection, [scored(outcome) for outcome in outcome_ids]).count


def _state_of(engine, run):
    with engine.connect() as connection:
        return progress(connection, run), find_run(connection, run)


def _runs_with_metrics(engine):
    with engine.connect() as connection:
        runs = select(RunFindingMetric.run_id).distinct().order_by(RunFindingMetric.run_id)
        return list(connection.execute(runs).scalars())
