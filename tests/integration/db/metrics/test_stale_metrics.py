"""What the views show equals a recount after every change of what metrics rest on, on both databases."""

import runpy
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import select, text, update

import db
from db.close_run import close_finished_runs
from db.engine.session import make_engine, upgrade
from db.labels.csv_file import LabelRow, LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.cancel_run import cancel_run
from db.ledger.models import UsedScan
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import pending_of_run, record_outcomes
from db.ledger.runs import nothing_pending
from db.ledger.scans import FoundImage, register_scans, scan_ids_by_name
from db.ledger.stop_run import resume_run, stop_run
from db.maintenance.forget_patient import forget_patient
from db.metrics.aggregate import aggregate
from db.metrics.stale_metrics import delete_metrics
from db.schema.tables import Run, RunFindingMetric, RunThresholdMetric
from tests.support.ledger import a_model, scored
from tests.support.recount import check_views
from tests.support.world import wait_until

#: The model's own dataset, and the one in which its scans have come again.
FITTED_DATASET, DATASET = "sample_labels", "hospital"
FINDINGS = (("Effusion",), ("No Finding",), ("Mass", "Effusion"), ("No Finding",), ("Hernia",), ("No Finding",))


def rows_of(numbers, *, patients=True, labels=True):
    """Rows of these scans; patients have two scans each."""
    return tuple(
        LabelRow(
            image_name=f"{n}.png",
            findings=FINDINGS[n % len(FINDINGS)] if labels else (),
            patient_id=str(n // 2) if patients else None,
            view="PA",
            sex="F",
            age_years=60.0,
            follow_up=0,
        )
        for n in numbers
    )


def commit(connection, rows, *, dataset=DATASET, sha256="a" * 64, rescore=False, changed=()):
    """Commit an enqueue of a CSV with these rows as a producer does; returns the run's id."""
    file = LabelsFile(path=Path(f"{dataset}.csv"), sha256=sha256, dataset=dataset, rows=rows)
    lock_for_enqueue(connection)
    model = a_model(connection)
    ids = register_scans(connection, dataset, rows, {row.image_name: FoundImage(location="/x") for row in rows})
    request = RunRequest(
        source=file.path.name,
        sha256=sha256,
        dataset=dataset,
        model_id=model.id,
        label_set_id=import_labels(connection, file, rows, ids, dataset),
        options={"limit": len(rows), "rescore": rescore},
    )
    outdated = frozenset(ids[name] for name in changed)
    return open_run(connection, request, list(ids.values()), rescore=rescore, changed=outdated)[0]


def add_labels(connection, rows):
    """Import labels of known scans from the CSV of `commit`, as `producer labels` does."""
    file = LabelsFile(path=Path(f"{DATASET}.csv"), sha256="a" * 64, dataset=DATASET, rows=rows)
    lock_for_enqueue(connection)
    import_labels(connection, file, rows, scan_ids_by_name(connection, DATASET), DATASET)


def enqueue(engine, rows, **options):
    with engine.begin() as connection:
        return commit(connection, rows, **options)


def score(engine, run, first=0):
    """Record the run's pending scans; every outcome has a score of its own."""
    with engine.begin() as connection:
        ids = [scan.outcome_id for scan in pending_of_run(connection, run)]
        record_outcomes(connection, [scored(outcome, outcome * 37 % 101 / 101) for outcome in ids[first:]])
    close_finished_runs(engine, ids[first:])


def stored(engine):
    """Every stored row, with the moment when it was computed."""
    with engine.connect() as connection:
        tables = (RunThresholdMetric.__table__, RunFindingMetric.__table__)
        return [sorted(map(repr, connection.execute(select(table)).all())) for table in tables]


def held_out_count(engine, run):
    """How many scans the held-out metrics of a run are of."""
    with engine.connect() as connection:
        query = text(
            "SELECT positives + negatives FROM finding_metrics "
            "WHERE run_id = :run AND subset = 'held_out' AND finding = 'Abnormal'"
        )
        return connection.execute(query, {"run": run}).scalar()


@pytest.fixture
def run(engine):
    """A finished run of twelve scans by a model without a split."""
    return finished_run(engine)


def finished_run(engine, rows=None, fitted=()):
    with engine.begin() as connection:
        a_model(connection, used=fitted)
    run = enqueue(engine, rows or rows_of(range(12)))
    score(engine, run)
    assert check_views(engine) == [run]
    return run


def test_labels_that_come_later_are_counted(engine):
    """Labels join a run's own label set: the commit deletes the stored figures, and closing counts again."""
    half = (*rows_of(range(6)), *rows_of(range(6, 12), labels=False))
    run = finished_run(engine, half)
    again = enqueue(engine, rows_of(range(12)))
    assert check_views(engine, complete=False) == []
    close_finished_runs(engine)
    assert check_views(engine) == [run, again]
    assert held_out_count(engine, run) == 12


def test_an_unchanged_csv_leaves_stored_figures_as_they_are(engine, run):
    """Night after night the same CSV comes: no figure is computed again, and the new run gets its own."""
    before = stored(engine)
    again = enqueue(engine, rows_of(range(12)))
    assert stored(engine) == before
    close_finished_runs(engine)
    assert check_views(engine) == [run, again]
    assert all(set(old) <= set(new) for old, new in zip(before, stored(engine), strict=True))


def test_new_scans_that_no_model_was_fitted_on_leave_stored_figures_as_they_are(engine):
    """A CSV that grows every night changes nothing in the earlier nights' figures."""
    finished_run(engine, fitted=[UsedScan(image_name="0.png", patient_id="0", subset="train")])
    before = stored(engine)
    enqueue(engine, rows_of(range(15)), sha256="b" * 64)
    assert stored(engine) == before


def test_patients_that_become_known_are_no_longer_held_out(engine):
    """A folder's scans have no patients; the CSV that comes later shows that the model was fitted on theirs."""
    fitted = UsedScan(image_name="other.png", patient_id="1", subset="train")
    with engine.begin() as connection:
        a_model(connection, used=[fitted])
    unknown = rows_of(range(12), patients=False)
    run = enqueue(engine, unknown, dataset=FITTED_DATASET)
    score(engine, run)
    assert (check_views(engine), held_out_count(engine, run)) == ([run], 12)
    enqueue(engine, rows_of(range(12)), dataset=FITTED_DATASET, sha256="b" * 64)
    assert check_views(engine, complete=False) == []
    close_finished_runs(engine)
    assert run in check_views(engine)
    assert held_out_count(engine, run) == 10


def test_a_new_scan_that_the_model_was_fitted_on_makes_its_patient_seen(engine):
    """Scan 99 comes after the run; the model knows its name, so the patient's earlier scans are not held out."""
    run = finished_run(engine, fitted=[UsedScan(image_name="99.png", patient_id="3", subset="train")])
    assert held_out_count(engine, run) == 12
    new = replace(rows_of([99])[0], patient_id="3")
    enqueue(engine, (*rows_of(range(12)), new), sha256="b" * 64)
    close_finished_runs(engine)
    assert run in check_views(engine)
    assert held_out_count(engine, run) == 10


def test_a_forgotten_patient_is_in_no_figure(engine, run):
    """The patient's two scans are out of both the stored figures and a recount."""
    forget_patient(engine, "1", DATASET)
    assert check_views(engine, complete=False) == []
    close_finished_runs(engine)
    assert (check_views(engine), held_out_count(engine, run)) == ([run], 10)


def test_forgetting_who_a_model_was_fitted_on_changes_the_figures_of_other_datasets(engine):
    """The split's row held scan 4 of another dataset out; without it that scan is held out."""
    run = finished_run(engine, fitted=[UsedScan(image_name="4.png", patient_id="2", subset="train")])
    assert held_out_count(engine, run) == 10
    forget_patient(engine, "2", FITTED_DATASET)
    assert check_views(engine, complete=False) == []
    close_finished_runs(engine)
    assert (check_views(engine), held_out_count(engine, run)) == ([run], 12)


def test_a_second_enqueue_and_a_rescore_leave_the_first_runs_figures_true(engine, run):
    """Scans scored again, and a changed image, are the later runs'."""
    again = enqueue(engine, rows_of(range(12)), rescore=True)
    assert check_views(engine) == [run]
    score(engine, again)
    assert check_views(engine) == [run, again]
    changed = enqueue(engine, rows_of(range(12)), changed=["3.png"])
    score(engine, changed)
    assert check_views(engine) == [run, again, changed]


def test_an_open_run_that_gets_new_outcomes_is_counted_once_it_closes(engine):
    """An image changes while its run is open, stopped and resumed: no view shows a figure before the end."""
    run = enqueue(engine, rows_of(range(12)))
    score(engine, run, first=6)
    with engine.begin() as connection:
        stop_run(connection, run, "too many failed")
    enqueue(engine, rows_of(range(12)), changed=["11.png"])
    with engine.begin() as connection:
        resume_run(connection, run)
    assert check_views(engine) == []
    score(engine, run)
    assert check_views(engine) == [run]


def test_a_cancelled_run_is_counted_once_no_scan_of_it_is_pending(engine):
    """It shares its scans with a run that goes on."""
    cancelled = enqueue(engine, rows_of(range(12)))
    other = enqueue(engine, rows_of(range(12)), sha256="b" * 64)
    cancel_run(engine, cancelled)
    close_finished_runs(engine)
    assert check_views(engine) == []
    score(engine, other)
    assert check_views(engine) == [cancelled, other]


def test_figures_of_a_process_that_died_before_closing_come_with_the_next_closing(engine, run):
    """Whoever closes next finds the finished run that lacks them; a second closing computes nothing."""
    with engine.begin() as connection:
        delete_metrics(connection, Run.id == run)
    assert close_finished_runs(engine) == []
    assert check_views(engine) == [run]
    before = stored(engine)
    close_finished_runs(engine)
    assert stored(engine) == before


def test_a_run_without_labels_is_not_closed_again_and_again(engine, run):
    """It is finished, and has no figures to compute."""
    with engine.begin() as connection:
        connection.execute(update(Run).values(label_set_id=None))
        connection.execute(RunThresholdMetric.__table__.delete())
        connection.execute(RunFindingMetric.__table__.delete())
        assert nothing_pending(connection) == []


def test_figures_that_an_older_program_stored_are_computed_again(engine, run):
    """A report may have stored them at other thresholds; nobody can tell whether labels came later."""
    with engine.begin() as connection:
        connection.execute(update(RunThresholdMetric).values(tp=4711))
        (migration,) = (Path(db.__file__).parent / "migrations/versions").glob("*_own_metrics.py")
        with Operations.context(MigrationContext.configure(connection)):
            runpy.run_path(str(migration))["upgrade"]()
        # As a later migration leaves it.
        connection.execute(update(Run).values(can_tell_held_out=None))
    assert check_views(engine, complete=False) == []
    close_finished_runs(engine)
    assert check_views(engine) == [run]


def test_labels_that_are_imported_while_a_run_closes_are_counted(new_postgres_engine):
    """The import waits for the closing transaction, and then deletes what that one stored."""
    engine = new_postgres_engine
    run = _decided_run(engine)
    with engine.begin() as connection:
        connection.execute(update(Run).where(Run.id == run).values(finished_at=text("now()")))
        aggregate(connection, run)
        importing = threading.Thread(target=_add_labels_alone, args=(engine, rows_of(range(12))))
        importing.start()
        _wait_for_a_lock(engine)
    importing.join()
    assert check_views(engine, complete=False) == []
    close_finished_runs(engine)
    assert check_views(engine) == [run]
    assert held_out_count(engine, run) == 12


def test_a_run_that_closes_while_labels_are_imported_counts_them(new_postgres_engine):
    """The closing waits for the import's transaction, and then reads what that one wrote."""
    engine = new_postgres_engine
    run = _decided_run(engine)
    with engine.begin() as connection:
        add_labels(connection, rows_of(range(12)))
        closing = threading.Thread(target=close_finished_runs, args=(engine,))
        closing.start()
        _wait_for_a_lock(engine)
    closing.join()
    assert check_views(engine) == [run]
    assert held_out_count(engine, run) == 12


@pytest.fixture
def new_postgres_engine(new_postgres):
    engine = make_engine(new_postgres)
    upgrade(engine)
    yield engine
    engine.dispose()


def _decided_run(engine):
    """A run of twelve scored scans, six of them labelled, that nobody has closed yet."""
    run = enqueue(engine, (*rows_of(range(6)), *rows_of(range(6, 12), labels=False)))
    with engine.begin() as connection:
        ids = [scan.outcome_id for scan in pending_of_run(connection, run)]
        record_outcomes(connection, [scored(outcome, outcome * 37 % 101 / 101) for outcome in ids])
    return run


def _add_labels_alone(engine, rows):
    with engine.begin() as connection:
        add_labels(connection, rows)


def _wait_for_a_lock(engine):
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def waits():
        with engine.connect() as connection:
            return connection.execute(waiting).scalar() == 1

    wait_until(waits, what="somebody waiting for a lock")
