"""A source that takes a known scan for another one: it is found, rejected in its own run, and changes nothing else."""

from dataclasses import replace

from sqlalchemy import select

from db.ledger.models import find_model
from db.ledger.open_run import RunRequest, open_run
from db.ledger.scans import FoundImage, find_conflicts
from db.schema.tables import Outcome, RunScan
from tests.support.ledger import enqueue, labels_file, score_all


def conflicts(engine, tmp_path, *, places=(), patients=(), **accepted):
    """Which rows conflict, if these row numbers come with images elsewhere or with another patient."""
    file = labels_file(tmp_path)
    rows = [replace(row, patient_id="77") if n in patients else row for n, row in enumerate(file.rows)]
    found = {
        row.image_name: FoundImage(location=f"/{'elsewhere' if n in places else 'x'}/{row.image_name}")
        for n, row in enumerate(file.rows)
    }
    with engine.begin() as connection:
        return find_conflicts(connection, file.dataset, rows, found, **{"moved": {}} | accepted)


def test_a_known_scan_with_another_patient_or_in_another_place_is_a_conflict(engine, tmp_path):
    """Both values are given; a sentence for the ledger names neither."""
    enqueue(engine, tmp_path)
    found = conflicts(engine, tmp_path, places=[1], patients=[2])
    assert {name: (one.locations, one.patients) for name, one in found.items()} == {
        "00000001_000.png": (("/x/00000001_000.png", "/elsewhere/00000001_000.png"), None),
        "00000002_000.png": (None, ("2", "77")),
    }
    assert not any(word in one.sentence for one in found.values() for word in ("77", "elsewhere", "0000"))


def test_what_a_person_or_the_bytes_settled_is_no_conflict(engine, tmp_path):
    """A scan that moved from the place that the ledger still knows, and a patient that is right."""
    enqueue(engine, tmp_path)
    moved = {"00000001_000.png": "/x/00000001_000.png"}
    assert conflicts(engine, tmp_path, places=[1], patients=[2], moved=moved, correct_patients=True) == {}
    elsewhere = {"00000001_000.png": "/moved again meanwhile"}
    assert set(conflicts(engine, tmp_path, places=[1], moved=elsewhere)) == set(elsewhere)


def test_a_new_name_and_an_unknown_patient_are_no_conflict(engine, tmp_path):
    """There is nothing to contradict."""
    assert conflicts(engine, tmp_path, places=[1], patients=[2]) == {}


def open_with_conflict(engine, scans, conflicting):
    with engine.begin() as connection:
        request = RunRequest(
            source="another", sha256="c" * 64, dataset="sample_labels", model_id=find_model(connection, None).id,
            label_set_id=None, options={"scans": scans},
        )  # fmt: skip
        run, _ = open_run(connection, request, scans, conflicts=dict.fromkeys(conflicting, "a sentence"))
        columns = (RunScan.scan_id, Outcome.revision, Outcome.state, Outcome.reason, RunScan.reused)
        linked = select(*columns).join(Outcome, Outcome.id == RunScan.outcome_id).where(RunScan.run_id == run)
        return [tuple(row) for row in connection.execute(linked.order_by(RunScan.scan_id))]


def test_a_conflict_is_rejected_in_its_run_and_the_scans_own_score_stays(engine, tmp_path):
    """The next run over the scan reuses its score; the next conflict reuses the rejection."""
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    rejected = (2, 2, "rejected", "conflict")
    assert open_with_conflict(engine, [1], [2]) == [(1, 1, "scored", None, True), (*rejected, False)]
    assert open_with_conflict(engine, [1, 2], []) == [(1, 1, "scored", None, True), (2, 1, "scored", None, True)]
    assert open_with_conflict(engine, [1, 3], [2])[1] == (*rejected, True)


def test_a_scan_of_which_only_a_conflict_is_known_is_due(engine, tmp_path):
    """A conflict says nothing about the scan itself."""
    enqueue(engine, tmp_path, missing=[0, 1, 2, 3])
    with engine.begin() as connection:
        connection.execute(RunScan.__table__.delete())
        connection.execute(Outcome.__table__.delete())
        connection.exec_driver_sql("UPDATE scans SET location = '/x'")
    assert open_with_conflict(engine, [1], [2])[1][1:4] == (1, "rejected", "conflict")
    assert open_with_conflict(engine, [2], []) == [(2, 2, "pending", None, False)]
