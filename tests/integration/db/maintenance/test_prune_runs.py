"""Pruning old runs on both databases: which rows go, and which must stay."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select, text, update

from db.close_run import close_finished_runs
from db.labels.label_sets import import_labels
from db.ledger.cancel_run import cancel_run
from db.ledger.open_run import RunRequest, open_run
from db.ledger.reviews import AGREE, add_review
from db.ledger.runs import find_run, progress
from db.ledger.scans import register_scans
from db.maintenance import prune_runs as retention
from db.maintenance.prune_runs import PruneResult, prune_runs
from db.schema.tables import (
    Label,
    LabelSet,
    Outcome,
    Run,
    RunFindingMetric,
    RunScan,
    RunThresholdMetric,
    Scan,
    Scores,
)
from tests.support.ledger import a_model, enqueue, ids_of, labels_file, score_all

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture(autouse=True)
def small_transactions(monkeypatch):
    """Checks three outcome ids per transaction, so that a ledger of twelve takes several."""
    monkeypatch.setattr(retention, "_IDS_PER_TRANSACTION", 3)


def test_an_old_run_goes_with_its_metrics_and_superseded_outcomes(engine, tmp_path):
    """Of two runs that scored all four scans, the first is deleted with its four outcomes and scores."""
    first, second = _run(engine, tmp_path, days_ago=90), _run(engine, tmp_path, days_ago=60)
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=1, outcomes=4)
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
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=0, outcomes=0)
    assert prune_runs(engine, timedelta(days=28), now=NOW) == _deleted(runs=1, outcomes=4)


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
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=0, outcomes=0)
    assert (_runs(engine), len(ids_of(engine, waiting))) == ([waiting, later], 3)


def test_the_newest_outcome_of_a_scan_outlives_its_run(engine, tmp_path):
    """After a later run scored two of four scans again, the others keep their scores, so an enqueue sends nothing."""
    _run(engine, tmp_path, days_ago=90)
    _limited_run(engine, [1, 2], rescore=True)
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=1, outcomes=2)
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
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=1, outcomes=0)
    with engine.connect() as connection:
        assert progress(connection, reusing).scored == 4


def test_a_review_outlives_its_outcome(engine, tmp_path):
    """What was said stays, with the revision of which it was said; the score is gone."""
    first = _run(engine, tmp_path, days_ago=90)
    _run(engine, tmp_path, days_ago=60)
    about = {"finding": "Effusion", "threshold": 0.5, "comment": "x", "reviewer": "ada"}
    with engine.begin() as connection:
        add_review(connection, run_id=first, scan_id=1, verdict=AGREE, **about)
    shown = text("SELECT verdict, revision, score, location, is_latest FROM reviews")
    for score in (0.1, None):
        with engine.connect() as connection:
            assert connection.execute(shown).all() == [(AGREE, 1, score, "/x/00000000_000.png", 1)]
        prune_runs(engine, MONTH, now=NOW)


def test_a_label_set_that_no_run_names_goes_with_the_labels_that_only_it_had(engine, tmp_path):
    """Its labels that a later file kept stay, and so do the label set of a younger run and the latest of each name."""
    _run(engine, tmp_path, days_ago=90)
    young = _run(engine, tmp_path, days_ago=29, sha256="b" * 64, relabelled={1: "Mass"})
    _run(engine, tmp_path, days_ago=1, sha256="c" * 64, relabelled={1: "Hernia"})
    _import_other(engine, tmp_path)
    _age_label_sets(engine, 90)
    assert _labels(engine) == [(1, "Effusion", 1, 2), (1, "Hernia", 3, None), (1, "Mass", 2, 3)]
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=1, outcomes=4, label_sets=1, labels=1)
    assert _labels(engine) == [(1, "Hernia", 3, None), (1, "Mass", 2, 3)]
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=0, outcomes=0)
    with engine.connect() as connection:
        names = connection.execute(select(LabelSet.id, LabelSet.name).order_by(LabelSet.id)).all()
        assert list(map(tuple, names)) == [(2, "sample_labels"), (3, "sample_labels"), (4, "other")]
        assert find_run(connection, young).label_set == "sample_labels"


def test_a_young_label_set_stays_without_a_run(engine, tmp_path):
    """Somebody may have imported it for a report today."""
    _import_other(engine, tmp_path)
    _import_other(engine, tmp_path, sha256="f" * 64)
    _age_label_sets(engine, 29)
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=0, outcomes=0)
    assert prune_runs(engine, timedelta(days=28), now=NOW) == _deleted(runs=0, outcomes=0, label_sets=1)


def test_labels_that_an_interrupted_call_left_go_later(engine, tmp_path):
    """The label set was deleted and its labels were not."""
    _run(engine, tmp_path, days_ago=2)
    _run(engine, tmp_path, days_ago=1, sha256="b" * 64, relabelled=dict.fromkeys(range(4), "Mass"))
    with engine.begin() as connection:
        connection.execute(update(Run).values(label_set_id=2))
        connection.execute(delete(RunThresholdMetric).where(RunThresholdMetric.label_set_id == 1))
        connection.execute(delete(RunFindingMetric).where(RunFindingMetric.label_set_id == 1))
        connection.execute(delete(LabelSet).where(LabelSet.id == 1))
    assert prune_runs(engine, MONTH, now=NOW) == _deleted(runs=0, outcomes=0, labels=4)
    assert _sizes(engine, Label) == [4]


def _deleted(*, runs, outcomes, label_sets=0, labels=0):
    return PruneResult(runs=runs, outcomes=outcomes, label_sets=label_sets, labels=labels)


def _import_other(engine, tmp_path, sha256="e" * 64):
    """Import a label set that no run is judged by."""
    file = labels_file(tmp_path, sha256=sha256)
    with engine.begin() as connection:
        ids = register_scans(connection, file.dataset, file.rows, {})
        import_labels(connection, file, file.rows, ids, "other")


def _age_label_sets(engine, days_ago):
    with engine.begin() as connection:
        connection.execute(update(LabelSet).values(imported_at=NOW - timedelta(days=days_ago)))


def _labels(engine):
    """The labels of the second of the four scans in the first series."""
    query = select(Scan.image_name, Label.finding, Label.since_id, Label.until_id).join(Label)
    with engine.connect() as connection:
        rows = connection.execute(query.where(Label.series_id == 1).order_by(Label.finding)).all()
    return [(1, *row[1:]) for row in rows if row.image_name == "00000001_000.png"]


def _run(engine, tmp_path, *, days_ago, sha256="a" * 64, relabelled=None):
    """A run that scored everything and was opened `days_ago` before NOW."""
    run, _ = enqueue(engine, tmp_path, rescore=True, sha256=sha256, relabelled=relabelled)
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
