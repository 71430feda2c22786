"""Pruning old runs on both databases: which rows go, and which must stay."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from db.close_run import close_finished_runs
from db.ledger.cancel_run import cancel_run
from db.ledger.open_run import RunRequest, open_run
from db.ledger.runs import progress
from db.maintenance import prune_runs as retention
from db.maintenance.prune_runs import PruneResult, prune_runs
from db.schema.tables import Outcome, Run, RunFindingMetric, RunScan, RunThresholdMetric, Scores
from tests.support.ledger import a_model, enqueue, ids_of, score_all

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture(autouse=True)
def small_transactions(monkeypatch):
    """Checks three outcome ids per transaction, so that a ledger of twelve takes several."""
    monkeypatch.setattr(retention, "_IDS_PER_TRANSACTION", 3)


def test_an_old_run_goes_with_its_metrics_and_superseded_outcomes(engine, tmp_path):
    """Of two runs that scored all four scans, the first is deleted with its four outcomes and scores."""
    first, second = _run(engine, tmp_path, days_ago=90), _run(engine, tmp_path, days_ago=60)
    assert prune_runs(engine, MONTH, now=NOW) == PruneResult(runs=1, outcomes=4)
    assert _sizes(engine, Run, RunScan, Outcome, Scores) == [1, 4, 4, 4]
    with engine.connect() as connection:
        for table in (RunThresholdMetric, RunFindingMetric):
            assert connection.execute(select(table.run_id).distinct()).scalars().all() == [second]
        assert progress(connection, first).expected == 0
        assert progress(connection, second).scored == 4


def test_a_young_run_stays(engine, tmp_path):
    """A run of 29 days is younger than 30."""
    _run(engine, tmp_path, days_ago=29)
    _run(engine, tmp_path, days_ago=1)
    assert prune_runs(engine, MONTH, now=NOW) == PruneResult(runs=0, outcomes=0)
    assert prune_runs(engine, timedelta(days=28), now=NOW) == PruneResult(runs=1, outcomes=4)


def test_the_latest_run_of_a_dataset_and_model_stays_however_old(engine, tmp_path):
    """Its report can still be read; a later cancelled run does not replace it."""
    latest = _run(engine, tmp_path, days_ago=90)
    cancelled, _ = enqueue(engine, tmp_path, rescore=True)
    cancel_run(engine, cancelled)
    _age(engine, cancelled, 80)
    assert prune_runs(engine, MONTH, now=NOW).runs == 1
    assert _runs(engine) == [latest]


def test_each_model_keeps_its_latest_run(engine, tmp_path):
    """A younger run of another model does not replace it."""
    with engine.begin() as connection:
        other = a_model(connection, sha256="n" * 64, name="other")
    older = _run(engine, tmp_path, days_ago=90)
    _age(engine, _limited_run(engine, [1], model_id=other.id), 80)
    assert prune_runs(engine, MONTH, now=NOW).runs == 0
    assert older in _runs(engine)


def test_an_open_run_stays_however_old(engine, tmp_path):
    """Its scans stay pending, though a later run of the same dataset and model has finished."""
    waiting, _ = enqueue(engine, tmp_path, rescore=True)
    decided = ids_of(engine, waiting)[0]
    later = _limited_run(engine, [decided])
    _age(engine, waiting, 90)
    _age(engine, later, 80)
    assert prune_runs(engine, MONTH, now=NOW) == PruneResult(runs=0, outcomes=0)
    assert (_runs(engine), len(ids_of(engine, waiting))) == ([waiting, later], 3)


def test_the_newest_outcome_of_a_scan_outlives_its_run(engine, tmp_path):
    """After a later run scored two of four scans again, the others keep their scores, so an enqueue sends nothing."""
    _run(engine, tmp_path, days_ago=90)
    _limited_run(engine, [1, 2], rescore=True)
    assert prune_runs(engine, MONTH, now=NOW) == PruneResult(runs=1, outcomes=2)
    again, _ = enqueue(engine, tmp_path)
    with engine.connect() as connection:
        now = progress(connection, again)
    assert (now.scored, now.pending, now.reused) == (4, 0, 4)


def test_outcomes_that_a_younger_run_shows_stay(engine, tmp_path):
    """A run that reused outcomes of the first run keeps them when that is pruned, superseded or not."""
    _run(engine, tmp_path, days_ago=90)
    reusing, _ = enqueue(engine, tmp_path, sha256="b" * 64)
    close_finished_runs(engine)
    _run(engine, tmp_path, days_ago=1)
    assert prune_runs(engine, MONTH, now=NOW) == PruneResult(runs=1, outcomes=0)
    with engine.connect() as connection:
        assert progress(connection, reusing).scored == 4


def _run(engine, tmp_path, *, days_ago, sha256="a" * 64):
    """A run that scored everything and was opened `days_ago` before NOW."""
    run, _ = enqueue(engine, tmp_path, rescore=True, sha256=sha256)
    score_all(engine, run)
    _age(engine, run, days_ago)
    return run


def _limited_run(engine, scan_ids, *, rescore=False, model_id=1):
    """A finished run over some of the scans, as `--limit` opens it."""
    request = RunRequest(
        source="sample_labels.csv",
        sha256="c" * 64,
        dataset="sample_labels",
        model_id=model_id,
        label_set_id=1,
        options={"limit": len(scan_ids)},
    )
    with engine.begin() as connection:
        run, _ = open_run(connection, request, scan_ids, rescore=rescore)
    score_all(engine, run)
    return run


def _age(engine, run, days_ago):
    with engine.begin() as connection:
        connection.execute(update(Run).where(Run.id == run).values(created_at=NOW - timedelta(days=days_ago)))


def _runs(engine):
    with engine.connect() as connection:
        return list(connection.execute(select(Run.id).order_by(Run.id)).scalars())


def _sizes(engine, *tables):
    with engine.connect() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar() for table in tables]
