"""A stopped run on both databases: workers skip scans that only it waits for, and resuming makes some due again."""

from sqlalchemy import select

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.ledger.backlog import read_backlog
from db.ledger.cancel_run import cancel_run
from db.ledger.models import read_demand
from db.ledger.outcomes import Rejected, count_pending, pending_of_model, record_outcomes, still_pending
from db.ledger.runs import find_run, open_runs_of, progress, still_open_runs
from db.ledger.scans import FoundImage
from db.ledger.stop_run import resume_run, stop_run
from db.schema.tables import Outcome
from producer.ingest.changed_images import find_image_changes
from tests.support.ledger import enqueue, ids_of, score_all, scored

MODEL, OTHER = "a" * 64, "b" * 64


def stop(engine, run):
    with engine.begin() as connection:
        return stop_run(connection, run, "too much cannot be scored")


def resume(engine, run):
    with engine.begin() as connection:
        return resume_run(connection, run)


def reject(engine, outcome_ids, reason="missing", content=None):
    outcomes = [Rejected(outcome_id=one, reason=reason, detail="x", content=content) for one in outcome_ids]
    with engine.begin() as connection:
        record_outcomes(connection, outcomes)
    close_finished_runs(engine)


def state_of(engine, run):
    with read_transaction(engine) as connection:
        now, info = progress(connection, run), find_run(connection, run)
    return now, info


def pending_work(engine):
    """The model's work as worker, sweep, model choice and metrics see it."""
    with read_transaction(engine) as connection:
        backlog, wanted = read_backlog(connection), read_demand(connection)
        model = wanted.active.id
        everything = connection.execute(select(Outcome.id)).scalars().all()
        counts = {
            len(still_pending(connection, everything, wanted.active.sha256)),
            len(pending_of_model(connection, model)),
            count_pending(connection, model),
            backlog.pending[model],
        }
    (waiting,) = counts
    assert bool(wanted.with_work) == bool(backlog.oldest_seconds) == bool(waiting)
    return waiting


def test_scans_of_a_stopped_run_are_skipped_and_stay_pending(engine, tmp_path):
    """Workers, the sweep, the choice of a model and the metrics ignore them; the run stays open."""
    run, _ = enqueue(engine, tmp_path)
    assert pending_work(engine) == 4
    assert stop(engine, run)
    assert pending_work(engine) == 0
    now, info = state_of(engine, run)
    assert (now.pending, info.finished_at, info.stop_reason) == (4, None, "too much cannot be scored")
    assert close_finished_runs(engine) == []
    with read_transaction(engine) as connection:
        backlog = read_backlog(connection)
        assert (backlog.open_runs, backlog.stopped_runs) == (1, 1)
        assert open_runs_of(connection, ids_of(engine, run)) == {}
        assert still_open_runs(connection, [run]) == {}


def test_scans_that_another_run_waits_for_too_are_scored_and_end_the_stopped_run(engine, tmp_path):
    """The stopped run closes as usual; the scans of a third run stay untouched."""
    run, _ = enqueue(engine, tmp_path)
    stop(engine, run)
    other, _ = enqueue(engine, tmp_path, sha256=OTHER)
    assert pending_work(engine) == 4
    with read_transaction(engine) as connection:
        assert set(map(tuple, open_runs_of(connection, ids_of(engine, run)).values())) == {(other,)}
    score_all(engine, other)
    for each in (run, other):
        now, info = state_of(engine, each)
        assert (now.scored, info.is_stopped, info.finished_at is None) == (4, False, False)
    assert not resume(engine, run), "it is over"


def test_only_an_open_run_with_pending_scans_is_stopped_and_only_once(engine, tmp_path):
    """A run that has just ended is not stopped, whatever its error rate was."""
    run, _ = enqueue(engine, tmp_path)
    assert [stop(engine, run), stop(engine, run)] == [True, False]
    resume(engine, run)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(one) for one in ids_of(engine, run)])
    assert not stop(engine, run), "nothing waits in it"
    close_finished_runs(engine)
    assert not stop(engine, run)


def test_a_resumed_run_retries_rejections_that_may_have_passed(engine, tmp_path):
    """They become new revisions; permanent rejections, scores, and scans that never had an image stay."""
    run, _ = enqueue(engine, tmp_path, missing={0})
    first, second, third = ids_of(engine, run)
    reject(engine, [first])
    reject(engine, [second], reason="truncated")
    stop(engine, run)
    assert resume(engine, run)
    now, info = state_of(engine, run)
    assert (now.expected, now.pending, now.rejected) == (4, 2, 2)
    assert (info.stopped_at, info.stop_reason) == (None, None)
    again = ids_of(engine, run)
    assert third in again and first not in again
    with read_transaction(engine) as connection:
        revisions = select(Outcome.revision).where(Outcome.id.in_(again)).order_by(Outcome.id)
        assert connection.execute(revisions).scalars().all() == [1, 2]
        assert list(still_open_runs(connection, [run]).values()) != [None]
    assert not resume(engine, run), "it goes on already"


def test_the_same_request_joins_a_stopped_run_and_leaves_it_to_the_producer_to_resume_it(engine, tmp_path):
    """Two resumptions count as one."""
    run, _ = enqueue(engine, tmp_path)
    reject(engine, ids_of(engine, run)[:2], reason="unreadable")
    stop(engine, run)
    assert enqueue(engine, tmp_path) == (run, True)
    assert [resume(engine, run), resume(engine, run)] == [True, False]
    assert state_of(engine, run)[0].pending == 4


def test_a_stopped_run_can_be_cancelled(engine, tmp_path):
    """It ends then, and its pending scans are due again in the next run."""
    run, _ = enqueue(engine, tmp_path)
    stop(engine, run)
    assert cancel_run(engine, run) == 4
    _, info = state_of(engine, run)
    assert not info.is_stopped
    again, joined = enqueue(engine, tmp_path)
    assert (again != run, joined, state_of(engine, again)[0].pending) == (True, False, 4)


def test_an_image_that_a_stopped_run_rejected_is_read_again_though_its_listing_is_unchanged(engine, tmp_path):
    """Another file may have been there meanwhile; without a stop, a file of the same size and time is not read."""
    run, _ = enqueue(engine, tmp_path)
    image = tmp_path / "00000000_000.png"
    image.write_bytes(b"a film")
    found = {image.name: FoundImage(location=str(image), version="stat:6-1")}
    first = ids_of(engine, run)[0]
    reject(engine, [first], reason="not_image", content="sha256:of-a-page")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE scans SET location = '{image}' WHERE image_name = '{image.name}'")
        connection.exec_driver_sql(f"UPDATE outcomes SET seen_as = 'stat:6-1 {image}'")
    assert not find_image_changes(engine, "sample_labels", None, found).changed
    stop(engine, run)
    assert find_image_changes(engine, "sample_labels", None, found).changed == {image.name}
