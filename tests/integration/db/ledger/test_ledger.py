"""The ledger on both databases: migrations, runs, and the first writer of an outcome."""

import os
import re
import subprocess
import sys
import threading
import uuid

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from db.close_run import close_finished_runs
from db.engine.session import head_revision, ledger_session, make_engine, open_database, read_transaction, upgrade
from db.errors import UserError
from db.ledger import open_run as opening
from db.ledger.models import UsedScan, activate, find_model
from db.ledger.outcomes import Rejected, count_attempt, record_outcomes, still_pending
from db.ledger.runs import find_run, progress
from db.schema.tables import PENDING, Base, LabelSet, Outcome, RunFindingMetric, RunScan, Scan, Scores
from db.schema.views import VIEWS
from tests.support.ledger import a_model, commit, enqueue, ids_of, pending_scan, scored


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    """Opens runs of four scans in two slices."""
    monkeypatch.setattr(opening, "_SCANS_PER_SLICE", 3)


def test_migrations_give_the_tables_that_the_code_describes(engine):
    """A migrated database and the typed models do not differ, and every view can be read."""
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        for view in VIEWS:
            assert connection.execute(text(f"SELECT * FROM {view}")).all() == []


def test_postgresql_is_never_migrated_unasked(new_postgres):
    """Opening a PostgreSQL database without our tables names the command to run, and changes nothing."""
    with pytest.raises(UserError, match="python -m db upgrade"):
        open_database(new_postgres)
    engine = make_engine(new_postgres)
    with engine.connect() as connection:
        assert not connection.dialect.has_table(connection, "scans")
    upgrade(engine)
    open_database(new_postgres).dispose()
    engine.dispose()


def test_python_m_db_upgrade_makes_the_tables(new_postgres):
    """Runs the command that the refusal names, as a person would."""
    command, env = [sys.executable, "-m", "db", "upgrade"], {**os.environ, "CXR_DATABASE_URL": new_postgres}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("postgresql+psycopg://"), "it names the database"
    assert done.stdout.endswith(f": the tables are at revision {head_revision()}\n")
    open_database(new_postgres).dispose()


def test_a_database_that_is_newer_than_the_program_is_refused(engine, database_url):
    """A revision that this program does not know is an error of one sentence on both databases."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match="9999"):
        open_database(database_url)
    assert head_revision() != "9999"


def test_an_identical_open_run_is_joined_and_a_finished_one_is_not(engine, tmp_path):
    """Two equal requests share one run while it is open."""
    first, joined = enqueue(engine, tmp_path)
    assert (enqueue(engine, tmp_path), joined) == ((first, True), False)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome) for outcome in ids_of(engine, first)])
    assert close_finished_runs(engine) == [first]
    second, joined = enqueue(engine, tmp_path)
    assert (second != first, joined) == (True, False)


def test_scans_of_other_datasets_are_not_part_of_a_run(engine, tmp_path, monkeypatch):
    """Their ids lie between the run's, and they are pending for the same model."""
    monkeypatch.setattr(opening, "_SCANS_PER_SLICE", 10)
    places = {10: "sample_labels", 20: "other", 30: "sample_labels"}
    scans = [
        {"id": number, "dataset": dataset, "image_name": f"{number // 30:08d}_000.png", "location": "/x"}
        for number, dataset in places.items()
    ]
    with engine.begin() as connection:
        connection.execute(insert(Scan), scans)
        values = {"scan_id": 20, "model_id": a_model(connection).id, "revision": 1, "state": PENDING, "attempts": 0}
        others = connection.execute(insert(Outcome).returning(Outcome.id), values).scalar_one()
    run, _ = enqueue(engine, tmp_path)
    with engine.connect() as connection:
        taken = connection.execute(select(RunScan.scan_id).order_by(RunScan.scan_id)).scalars().all()
        assert (len(taken), {10, 20, 30} & set(taken)) == (4, {10, 30})
    assert others not in ids_of(engine, run)


def test_an_image_that_changes_while_its_run_is_open_is_scored_again_in_that_run(engine, tmp_path):
    """A joined run gets a new revision of what was decided, or waits, for the image as it was; the rest stays."""
    run, _ = enqueue(engine, tmp_path)
    one, _, three, four = ids_of(engine, run)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(one)])
    assert enqueue(engine, tmp_path, changed=[1, 2]) == (run, True)
    assert ids_of(engine, run) == [three, four, four + 1, four + 2]
    with engine.connect() as connection:
        assert progress(connection, run).expected == 4
        revisions = select(Outcome.scan_id, Outcome.revision).where(Outcome.id > four)
        assert connection.execute(revisions).all() == [(1, 2), (2, 2)]


def test_a_run_that_gets_new_outcomes_is_not_closed_meanwhile(engine, tmp_path):
    """A worker that would close it waits for the producer, and then sees the pending outcomes."""
    run, _ = enqueue(engine, tmp_path)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome) for outcome in ids_of(engine, run)])
    closed = []
    worker = threading.Thread(target=lambda: closed.extend(close_finished_runs(engine)))
    with engine.begin() as connection:
        assert commit(connection, tmp_path, changed=[1]) == (run, True)
        worker.start()
        worker.join(0.5)
    worker.join()
    assert closed == []
    with engine.connect() as connection:
        assert (progress(connection, run).pending, find_run(connection, run).finished_at) == (1, None)
        assert connection.execute(select(RunFindingMetric)).all() == []


def test_two_producers_at_once_leave_one_run(engine, tmp_path):
    """Eight concurrent enqueues of one CSV open one run with one outcome per scan."""
    results, errors = [], []

    def work():
        try:
            results.append(enqueue(engine, tmp_path)[0])
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (errors, len(set(results))) == ([], 1)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(Outcome)).scalar() == 4
        assert connection.execute(select(func.count()).select_from(LabelSet)).scalar() == 1


def test_a_scan_without_an_image_is_rejected_at_once_and_due_when_it_appears(engine, tmp_path):
    """`missing` is an outcome: the next run reuses it, until there is an image."""
    run, _ = enqueue(engine, tmp_path, missing={1})
    with engine.connect() as connection:
        now = progress(connection, run)
        assert (now.expected, now.rejected, now.pending) == (4, 1, 3)
    still, _ = enqueue(engine, tmp_path, missing={1}, sha256="b" * 64)
    with engine.connect() as connection:
        assert progress(connection, still).pending == 3
    found, _ = enqueue(engine, tmp_path, sha256="c" * 64)
    with engine.connect() as connection:
        assert progress(connection, found).pending == 4
        assert progress(connection, run).rejected == 1, "the older run keeps its own outcome"


def test_the_first_writer_of_an_outcome_wins(engine, tmp_path):
    """A recorded outcome never changes, whatever a second worker writes."""
    run, _ = enqueue(engine, tmp_path)
    first = ids_of(engine, run)[0]
    with engine.begin() as connection:
        assert record_outcomes(connection, [scored(first, 0.25)]).count == 1
    with engine.begin() as connection:
        assert record_outcomes(connection, [scored(first, 0.75)]).count == 0
        assert record_outcomes(connection, [Rejected(outcome_id=first, reason="empty", detail="x")]).count == 0
        assert connection.execute(select(Scores.abnormal)).scalars().all() == [0.25]
        assert connection.execute(select(Outcome.state).where(Outcome.id == first)).scalar() == "scored"


def test_many_writers_of_the_same_outcomes_write_each_once(engine, tmp_path):
    """Workers on one chunk, each in its own order, neither deadlock nor write twice."""
    run, _ = enqueue(engine, tmp_path)
    ids = ids_of(engine, run)
    won, errors = [], []

    def work(order):
        try:
            with engine.begin() as connection:
                won.append(record_outcomes(connection, [scored(outcome) for outcome in order]).count)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(ids[::step],)) for step in (1, -1) * 4]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (errors, sum(won)) == ([], 4)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_batch_goes_to_postgresql_and_back_once(engine, tmp_path):
    """One statement that commits itself writes the rows and reads the open runs: the database may be a network away."""
    run, _ = enqueue(engine, tmp_path)
    first, second, third, _ = ids_of(engine, run)
    rejected = Rejected(outcome_id=second, reason="empty", detail="x")
    sent = []
    with ledger_session(engine) as ledger, ledger.write_transaction() as connection:
        event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
        recorded = record_outcomes(connection, [scored(first, 0.25), rejected], [run, run + 1])
        assert connection.connection.dbapi_connection.autocommit
    assert (len(sent), recorded.count, recorded.open_runs) == (1, 2, {run: None})
    with read_transaction(engine) as connection:
        rows = connection.execute(select(Outcome.id, Outcome.state, Outcome.reason).order_by(Outcome.id)).all()
        assert rows[:3] == [(first, "scored", None), (second, "rejected", "empty"), (third, "pending", None)]
        assert connection.execute(select(Scores.outcome_id, Scores.abnormal)).all() == [(first, 0.25)]


def test_a_run_closes_once_and_only_when_nothing_is_pending(engine, tmp_path):
    """Only the call that closes a run returns its number."""
    run, _ = enqueue(engine, tmp_path)
    ids = ids_of(engine, run)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome) for outcome in ids[:-1]])
    assert close_finished_runs(engine, ids) == []
    with engine.begin() as connection:
        record_outcomes(connection, [scored(ids[-1])])
    assert [close_finished_runs(engine, ids), close_finished_runs(engine, ids)] == [[run], []]


def test_rescore_gives_new_revisions_and_older_runs_keep_theirs(engine, tmp_path):
    """`--rescore` makes every scan due again, as a new revision."""
    run, _ = enqueue(engine, tmp_path)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome, 0.25) for outcome in ids_of(engine, run)])
    close_finished_runs(engine)
    again, _ = enqueue(engine, tmp_path, rescore=True)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome, 0.75) for outcome in ids_of(engine, again)])
        rows = connection.execute(
            text("SELECT run_id, revision, abnormal FROM results_wide ORDER BY run_id, image_name")
        )
        assert set(map(tuple, rows)) == {(run, 1, 0.25), (again, 2, 0.75)}


def test_a_scan_that_was_rejected_for_a_reason_that_is_admitted_is_due_again(engine, tmp_path):
    """The other scans keep their outcomes."""
    run, _ = enqueue(engine, tmp_path)
    view, burned_in, *others = ids_of(engine, run)
    with engine.begin() as connection:
        rejected = [
            Rejected(outcome_id=view, reason="view", detail=""),
            Rejected(outcome_id=burned_in, reason="burned_in", detail=""),
        ]
        record_outcomes(connection, [*rejected, *map(scored, others)])
    close_finished_runs(engine)
    again, _ = enqueue(engine, tmp_path, admitted=["view"])
    with engine.connect() as connection:
        counts = progress(connection, again)
    assert (counts.pending, counts.rejected, counts.scored) == (1, 1, len(others))


def test_a_scan_that_kills_its_worker_is_quarantined_at_the_cap(engine, tmp_path):
    """Two deaths of a worker alone with it leave it pending; the third quarantines it."""
    run, _ = enqueue(engine, tmp_path)
    poison = ids_of(engine, run)[0]
    held = pending_scan(engine, poison)
    for may_go_on in (True, True, False):
        with engine.begin() as connection:
            assert count_attempt(connection, held) is may_go_on
    with engine.connect() as connection:
        assert poison not in [scan.outcome_id for scan in still_pending(connection, [poison], "m" * 64)]
        assert progress(connection, run).quarantined == 1


def test_an_edited_csv_is_a_label_set_of_its_own(engine, tmp_path):
    """Labels are never edited: another file becomes another label set, which is asked for by the same name."""
    enqueue(engine, tmp_path)
    enqueue(engine, tmp_path, sha256="b" * 64)
    with engine.connect() as connection:
        sets = connection.execute(select(LabelSet.name, LabelSet.sha256).order_by(LabelSet.id)).all()
        runs = connection.execute(text("SELECT label_set FROM run_progress")).scalars().all()
    assert list(map(tuple, sets)) == [("sample_labels", "a" * 64), ("sample_labels", "b" * 64)]
    assert runs == ["sample_labels"] * 2


def test_a_location_moves_and_is_never_forgotten(engine, tmp_path):
    """A newer location replaces the older one; a missing location does not."""
    enqueue(engine, tmp_path)
    enqueue(engine, tmp_path, missing={0, 1, 2, 3}, sha256="b" * 64)
    with engine.connect() as connection:
        assert connection.execute(select(func.count(Scan.location))).scalar() == 4


def test_a_models_name_never_moves_to_other_bytes(engine):
    """The hash identifies a model; the first model is active until another is activated."""
    with engine.begin() as connection:
        a_model(connection, used=[UsedScan(image_name="a.png", patient_id="1", subset="train")])
        with pytest.raises(UserError, match="another --name"):
            a_model(connection, sha256="n" * 64)
        a_model(connection, sha256="n" * 64, name="other")
        assert find_model(connection, None).name == "m"
        assert activate(connection, "n" * 12).name == "other"
        assert find_model(connection, None).name == "other"


def test_a_database_without_an_encoding_is_a_ledger_too(new_postgres):
    """A cluster that was created in the locale C has SQL_ASCII; text is still read as text, not as bytes."""
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = make_engine(new_postgres).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"))
    url = re.sub(r"/t[0-9a-f]{12}\?", f"/{name}?", new_postgres)
    upgrade(make_engine(url))
    engine = open_database(url)
    with read_transaction(engine) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == head_revision()
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_an_error_of_the_database_names_no_image(engine, tmp_path):
    """Its text goes into logs, which may hold no name."""
    enqueue(engine, tmp_path)
    with engine.connect() as connection:
        row = {"dataset": "sample_labels", "image_name": connection.execute(select(Scan.image_name).limit(1)).scalar()}
    with engine.begin() as connection, pytest.raises(IntegrityError) as caught:
        connection.execute(insert(Scan), row)
    # PostgreSQL repeats the name in its own DETAIL, so callers log only the kind of error.
    assert row["image_name"] not in str(caught.value).partition("DETAIL")[0]
