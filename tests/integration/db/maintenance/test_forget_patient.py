"""Forgetting a patient on both databases: which rows go, which stay, and which writers may run meanwhile."""

import sqlite3
import threading
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import event, func, insert, select, text

from db.close_run import close_finished_runs
from db.engine.session import make_engine, open_database, upgrade
from db.errors import UserError, WorkStopped
from db.labels.label_row import LabelRow
from db.ledger.models import UsedScan
from db.ledger.open_run import RunRequest, open_run
from db.ledger.outcomes import count_attempt, record_outcomes, still_pending
from db.ledger.reviews import DISAGREE, add_review
from db.ledger.runs import find_run, progress
from db.ledger.scans import FoundImage, ImageHeader, register_scans
from db.maintenance.forget_patient import forget_patient
from db.metrics.aggregate import aggregate
from db.schema.tables import (
    Base,
    Forgotten,
    Label,
    ModelScan,
    Outcome,
    Review,
    RunFindingMetric,
    RunScan,
    Scan,
    Scores,
)
from tests.support.ledger import a_model, enqueue, ids_of, pending_scan, score_all, scored
from tests.support.world import wait_until

ALL_TABLES = [mapper.class_ for mapper in Base.registry.mappers]
#: The second of the ledger's four patients, their only scan, and its first outcome.
PATIENT, IMAGE, OUTCOME = "1", "00000001_000.png", 2
COMMENT = "Mrs Canary had a lobectomy"


def test_everything_about_a_patient_goes_and_everybody_else_stays(engine, tmp_path):
    """Scan, outcomes of both revisions, scores, labels and run rows are deleted; three patients keep theirs."""
    _scored_run(engine, tmp_path)
    enqueue(engine, tmp_path, rescore=True)
    forgotten = forget_patient(engine, PATIENT)
    assert (forgotten.scans, forgotten.outcomes, forgotten.labels, forgotten.runs) == (1, 2, 1, (1, 2))
    assert _sizes(engine, Scan, Outcome, Scores, Label, RunScan) == [3, 6, 3, 3, 6]
    with engine.connect() as connection:
        assert IMAGE not in connection.execute(select(Scan.image_name)).scalars().all()


def test_the_labels_of_earlier_files_go_too(engine, tmp_path):
    """The patient's one scan was labelled otherwise in the file before; everybody else has one row for both files."""
    enqueue(engine, tmp_path)
    enqueue(engine, tmp_path, sha256="b" * 64, relabelled={1: "Mass"})
    assert forget_patient(engine, PATIENT).labels == 2
    assert _sizes(engine, Label) == [3]


def test_what_people_said_of_the_patients_scores_goes_too(engine, tmp_path):
    """Of the first and of the second patient's scan there is a review."""
    run = _scored_run(engine, tmp_path)
    with engine.begin() as connection:
        for scan in (1, 2):
            _review(connection, run, scan_id=scan)
    forget_patient(engine, PATIENT)
    with engine.connect() as connection:
        assert connection.execute(select(Review.scan_id)).scalars().all() == [1]


def test_a_row_records_the_forgetting_but_not_the_patient(engine, tmp_path):
    """It holds a time and three counts."""
    _scored_run(engine, tmp_path)
    forget_patient(engine, PATIENT)
    with engine.connect() as connection:
        row = connection.execute(select(Forgotten)).mappings().one()
    assert {name: row[name] for name in row if name != "forgotten_at"} == {
        "id": 1,
        "scans": 1,
        "outcomes": 1,
        "labels": 1,
    }


def test_an_id_is_read_as_a_csv_writes_it(engine, tmp_path):
    """With or without leading zeros and spaces, it is one patient."""
    _scored_run(engine, tmp_path)
    assert forget_patient(engine, " 00000001 ").scans == 1


@pytest.mark.parametrize(
    ("patient", "dataset", "sentence"),
    [
        ("99", None, "no patient 99 in the ledger"),
        ("1", "elsewhere", "no patient 1 in dataset 'elsewhere'"),
        ("2", None, "patient 2 is in several datasets; choose one with --dataset: hospital, sample_labels"),
        (" ", None, "no patient id was given; give one as it is in the CSV"),
        ("2.01911E+11", None, "the patient id is in scientific notation .*save the file again"),
    ],
)
def test_a_patient_who_is_not_exactly_one_is_refused(engine, tmp_path, patient, dataset, sentence):
    """An unknown, an ambiguous and an empty id each get one sentence, and nothing is written."""
    _scored_run(engine, tmp_path)
    _in_hospital(engine)
    before = _sizes(engine, *ALL_TABLES)
    with pytest.raises(UserError, match=f"^{sentence}$"):
        forget_patient(engine, patient, dataset)
    assert _sizes(engine, *ALL_TABLES) == before


def test_an_id_means_nothing_outside_of_its_dataset(engine, tmp_path):
    """If the dataset is given, its patient is deleted and the other dataset's stays."""
    _scored_run(engine, tmp_path)
    _in_hospital(engine)
    forget_patient(engine, "2", "sample_labels")
    with engine.connect() as connection:
        assert connection.execute(select(Scan.dataset).where(Scan.patient_id == "2")).scalars().all() == ["hospital"]


def test_models_forget_what_they_were_fitted_on_and_are_named(engine, tmp_path):
    """Rows of the split go, also those without a patient; other patients' rows stay, and other models are not named."""
    one = UsedScan(image_name="gone.png", patient_id=PATIENT, subset="train")
    unnamed = UsedScan(image_name=IMAGE, patient_id=None, subset="test")
    other = UsedScan(image_name="x.png", patient_id="2", subset="train")
    with engine.begin() as connection:
        for name, used in {"m": [one, other], "by_image": [unnamed], "other": [other]}.items():
            a_model(connection, sha256=name[0] * 64, name=name, used=used)
    enqueue(engine, tmp_path)
    assert forget_patient(engine, PATIENT).models == ("by_image", "m")
    with engine.connect() as connection:
        assert connection.execute(select(ModelScan.image_name)).scalars().all() == ["x.png", "x.png"]


def test_metrics_are_deleted_and_closing_computes_them_without_the_patient(engine, tmp_path):
    """They are of three scans instead of four; in between there are none."""
    _scored_run(engine, tmp_path)
    assert _counts_of(engine) == [(2, 2)]
    forget_patient(engine, PATIENT)
    assert _counts_of(engine) == []
    close_finished_runs(engine)
    assert _counts_of(engine) == [(1, 2)]


def test_a_run_whose_last_pending_scan_goes_can_be_closed(engine, tmp_path):
    """Nothing is pending, so the caller's `close_finished_runs` closes the run and computes its metrics."""
    run, _ = enqueue(engine, tmp_path)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome) for outcome in ids_of(engine, run) if outcome != OUTCOME])
    assert close_finished_runs(engine) == []
    forget_patient(engine, PATIENT)
    assert close_finished_runs(engine) == [run]


def test_a_run_of_forgotten_patients_only_is_empty(engine, tmp_path):
    """The run stays finished, with all counts zero and metrics of no scan."""
    run = _scored_run(engine, tmp_path)
    for number in range(4):
        forget_patient(engine, str(number))
    close_finished_runs(engine)
    with engine.connect() as connection:
        assert find_run(connection, run).finished_at is not None
        assert progress(connection, run).expected == 0
        assert connection.execute(select(func.max(RunFindingMetric.positives))).scalar() == 0


def test_a_worker_that_holds_a_forgotten_scan_drops_it(engine, tmp_path):
    """The scan is not pending, cannot be recorded, and an attempt on it counts nowhere."""
    run, _ = enqueue(engine, tmp_path)
    ids, held = ids_of(engine, run), pending_scan(engine, OUTCOME)
    forget_patient(engine, PATIENT)
    with engine.begin() as connection:
        assert OUTCOME not in [scan.outcome_id for scan in still_pending(connection, ids, "m" * 64)]
        assert count_attempt(connection, held)
        assert record_outcomes(connection, [scored(outcome) for outcome in ids]).count == 3
    assert _sizes(engine, Scores) == [3]


def test_a_worker_that_writes_first_leaves_no_score(new_postgres_engine, tmp_path):
    """Forgetting waits for the worker's transaction, and deletes what it wrote."""
    engine = new_postgres_engine
    run, _ = enqueue(engine, tmp_path)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome) for outcome in ids_of(engine, run)])
        forgetting = threading.Thread(target=forget_patient, args=(engine, PATIENT))
        forgetting.start()
        _wait_for_waiting(engine, 1)
    forgetting.join()
    assert _sizes(engine, Outcome, Scores) == [3, 3]


def test_a_reviewer_that_writes_first_leaves_no_review(new_postgres_engine, tmp_path):
    """Forgetting waits for the review, and deletes it with the scan."""
    engine = new_postgres_engine
    run = _scored_run(engine, tmp_path)
    with engine.begin() as connection:
        _review(connection, run)
        forgetting = threading.Thread(target=forget_patient, args=(engine, PATIENT))
        forgetting.start()
        _wait_for_waiting(engine, 1)
    forgetting.join()
    assert _sizes(engine, Scan, Review) == [3, 0]


def test_a_worker_that_writes_second_skips_deleted_scans(new_postgres_engine, tmp_path):
    """It waits for the forgetting transaction, and then records the other three."""
    engine, won = new_postgres_engine, []
    run, _ = enqueue(engine, tmp_path)
    ids = ids_of(engine, run)
    with engine.connect() as connection:
        # Forgetting deletes labels after outcomes, so this lock holds it inside its transaction.
        connection.execute(select(Label).with_for_update())
        forgetting = threading.Thread(target=forget_patient, args=(engine, PATIENT))
        forgetting.start()
        _wait_for_waiting(engine, 1)
        deciding = threading.Thread(target=lambda: won.append(_decide(engine, ids)))
        deciding.start()
        _wait_for_waiting(engine, 2)
    forgetting.join()
    deciding.join()
    assert (won, _sizes(engine, Outcome, Scores)) == ([3], [3, 3])


def test_an_aggregator_that_began_before_leaves_no_metrics_of_the_patient(new_postgres_engine, tmp_path):
    """Forgetting waits for it, though no metrics were stored yet, and deletes what it stored."""
    engine = new_postgres_engine
    run, _ = enqueue(engine, tmp_path)
    _decide(engine, ids_of(engine, run))
    with engine.begin() as connection:
        aggregate(connection, run)
        forgetting = threading.Thread(target=forget_patient, args=(engine, PATIENT))
        forgetting.start()
        _wait_for_waiting(engine, 1)
    forgetting.join()
    assert _counts_of(engine) == []


def test_sqlite_keeps_no_trace_in_its_files(sqlite_engine, tmp_path):
    """Afterwards, neither file nor WAL holds the image's name or a comment, though a reader was there meanwhile."""
    engine = sqlite_engine
    with engine.begin() as connection:
        a_model(connection, used=[UsedScan(image_name=IMAGE, patient_id=PATIENT, subset="train")])
    enqueue(engine, tmp_path, missing=range(4))
    run, _ = enqueue(engine, tmp_path, sha256="b" * 64)
    score_all(engine, run)
    with engine.begin() as connection:
        _review(connection, run)
    planted = [IMAGE.encode(), COMMENT.encode()]
    with _idle_reader(engine):
        assert [each for each in planted if each not in _bytes_of(engine)] == []
        forget_patient(engine, PATIENT)
        assert [each for each in planted if each in _bytes_of(engine)] == []
    assert b"00000002_000.png" in _bytes_of(engine)


def test_nothing_that_a_dicom_header_said_is_left(sqlite_engine, tmp_path):
    """Neither the UID, by which the hospital finds the film, nor the date of the visit, the device or the patient."""
    engine, uid = sqlite_engine, "1.2.840.55.1"
    about = {"manufacturer": "Canary Corp", "transfer_syntax": "1.2.4.77", "study_date": date(1999, 9, 9)}
    header = ImageHeader(sop_instance_uid=uid, **about)
    row = LabelRow(
        image_name=header.sop_instance_uid,
        findings=(),
        patient_id="PAT^0042",
        view="PA",
        sex="F",
        age_years=60.0,
        follow_up=None,
    )
    image = FoundImage(location="/pacs/IM0001", header=header)
    split = [UsedScan(image_name=row.image_name, patient_id=None, subset="train", dataset="pacs")]
    with engine.begin() as connection:
        model = a_model(connection, used=split)
        ids = register_scans(connection, "pacs", [row], {row.image_name: image})
        request = RunRequest(
            source="/pacs", sha256="c" * 64, dataset="pacs", model_id=model.id, label_set_id=None, options={}
        )
        open_run(connection, request, list(ids.values()), images={ids[row.image_name]: image})
    planted = [b"1.2.840.55.1", b"Canary Corp", b"1.2.4.77", b"1999-09-09", b"PAT^0042", b"IM0001"]
    with _idle_reader(engine):
        assert [each for each in planted if each not in _bytes_of(engine)] == []
        assert forget_patient(engine, " PAT^0042").models == ("m",)
        assert [each for each in planted if each in _bytes_of(engine)] == []


def test_an_error_says_that_the_file_cannot_be_rewritten(sqlite_engine, tmp_path):
    """The patient is forgotten even so, and the sentence says what is left to do."""
    _scored_run(sqlite_engine, tmp_path)
    sqlite_engine.dispose()
    event.listen(sqlite_engine, "connect", _without_vacuum)
    with pytest.raises(WorkStopped, match=r"the patient is forgotten, but .*; run VACUUM on it"):
        forget_patient(sqlite_engine, PATIENT)
    assert _sizes(sqlite_engine, Scan) == [3]


@pytest.fixture
def new_postgres_engine(new_postgres):
    engine = make_engine(new_postgres)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_engine(tmp_path):
    """A SQLite database that does not overwrite deleted rows, as some builds do by default."""
    engine = open_database(f"sqlite:///{tmp_path / 'nightread.sqlite'}")
    engine.dispose()
    event.listen(engine, "connect", lambda dbapi, _record: dbapi.execute("PRAGMA secure_delete = OFF"))
    yield engine
    engine.dispose()


def _without_vacuum(dbapi, _record):
    # VACUUM attaches the copy that it writes, so refusing ATTACH makes it fail.
    attach = sqlite3.SQLITE_ATTACH
    dbapi.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action == attach else sqlite3.SQLITE_OK)


@contextmanager
def _idle_reader(engine):
    """Keeps another connection open, as a worker does, so that SQLite keeps the WAL file."""
    with engine.connect() as connection:
        connection.execute(select(Scan.id)).all()
        connection.rollback()
        yield


def _bytes_of(engine):
    file = Path(engine.url.database)
    return b"".join(each.read_bytes() for each in (file, file.with_name(f"{file.name}-wal")) if each.exists())


def _scored_run(engine, tmp_path):
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    return run


def _review(connection, run, scan_id=2):
    about = {"finding": "Effusion", "threshold": 0.5, "comment": COMMENT, "reviewer": "ada"}
    add_review(connection, run_id=run, scan_id=scan_id, verdict=DISAGREE, **about)


def _counts_of(engine):
    """The positive and negative scans of `Effusion` in the stored metrics."""
    with engine.connect() as connection:
        metric = RunFindingMetric
        counts = select(metric.positives, metric.negatives).where(metric.finding == "Effusion").distinct()
        return connection.execute(counts).all()


def _in_hospital(engine):
    with engine.begin() as connection:
        connection.execute(insert(Scan).values(dataset="hospital", image_name="a.png", patient_id="2"))


def _decide(engine, ids):
    with engine.begin() as connection:
        return record_outcomes(connection, [scored(outcome) for outcome in ids]).count


def _sizes(engine, *tables):
    with engine.connect() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar() for table in tables]


def _wait_for_waiting(engine, count):
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def all_wait():
        with engine.connect() as connection:
            return connection.execute(waiting).scalar() == count

    wait_until(all_wait, what=f"{count} waiting for a lock")
