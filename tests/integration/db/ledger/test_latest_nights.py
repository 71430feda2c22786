"""Which runs are the nights before a night."""

from db.engine.session import read_transaction
from db.ledger.nightly_runs import latest_ended_night, latest_nights
from db.ledger.stop_run import stop_run
from tests.support.ledger import enqueue, score_all
from tests.support.nights_ledger import NightlyJob, NightScans, add_night, open_night

JOB = NightlyJob(usual=NightScans(scans=2))
NOW = NightlyJob(schedule="now", seed=1, usual=JOB.usual)
LATER = NightlyJob(schedule="04:00 UTC", seed=2, usual=JOB.usual)
OTHER_JOB = NightlyJob(job=f"{JOB.job[:-1]}6", dataset="films", seed=3, usual=JOB.usual)
OTHER_MODEL = NightlyJob(model="later", seed=4, usual=JOB.usual)


def nights(engine, run_id, limit=30):
    with read_transaction(engine) as connection:
        return [(night.id, night.night) for night in latest_nights(connection, run_id, limit)]


def ended(engine, job=None):
    with read_transaction(engine) as connection:
        return latest_ended_night(connection, job)


def test_the_nights_before_a_night_are_the_ended_ones_of_its_job_and_model(engine, tmp_path):
    """In their order, whatever their schedule is; a stopped one has ended, and an open one has not."""
    mine = [add_night(engine, JOB, 0), add_night(engine, NOW, 1)]
    others = [add_night(engine, OTHER_JOB, 2), open_night(engine, JOB, 3), add_night(engine, OTHER_MODEL, 4)]
    stopped = open_night(engine, LATER, 5)
    with engine.begin() as connection:
        assert stop_run(connection, stopped, "too many rejects")
    mine += [stopped, open_night(engine, JOB, 6)]
    no_night, _ = enqueue(engine, tmp_path)
    assert nights(engine, mine[-1]) == [
        (mine[0], "2026-10-01"),
        (mine[1], "2026-10-02T02:00:00Z"),
        (stopped, "2026-10-06"),
        (mine[-1], "2026-10-07"),
    ]
    assert [run for run, _ in nights(engine, mine[-1], limit=2)] == mine[-2:]
    assert nights(engine, others[2]) == [(others[2], "2026-10-05")], "a first night of its model"
    assert nights(engine, no_night) == nights(engine, 99) == []


def test_the_latest_ended_night_is_that_of_a_job_or_of_all(engine, tmp_path):
    """A run that is no night is not one, however late it is."""
    assert ended(engine) is None
    first, other = add_night(engine, JOB, 0), add_night(engine, OTHER_JOB, 1)
    open_night(engine, JOB, 2)
    score_all(engine, enqueue(engine, tmp_path)[0])
    assert (ended(engine), ended(engine, JOB.job), ended(engine, "0" * 12)) == (other, first, None)
