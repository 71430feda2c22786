"""What the page of a scan reads, on both databases: uncertain labels, other runs, and the patient's scans in time."""

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import update

from db.engine.session import read_transaction
from db.ledger.scan_details import find_scan_details, scans_of_patient, scores_in_runs
from db.schema.tables import Label, Scan
from tests.support.ledger import enqueue, score_all


def change(engine, table, condition, **values):
    with engine.begin() as connection:
        connection.execute(update(table).where(condition).values(**values))


def test_a_scan_has_its_own_labels_with_the_uncertain_ones(engine, tmp_path):
    """The views have an uncertain label as NULL, and this has it as -1, of Abnormal too; elsewhere it is the view's."""
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    change(engine, Label, Label.scan_id == 2, value=-1)
    with read_transaction(engine) as connection:
        uncertain, other = (find_scan_details(connection, run, scan) for scan in (2, 4))
        assert find_scan_details(connection, run, 99) is None
    assert (uncertain.labels["Effusion"], uncertain.labels["Abnormal"], uncertain.labels.get("Mass")) == (-1, -1, 0)
    assert (other.labels["Effusion"], other.labels["Abnormal"]) == (1, 1)
    assert (other.image_name, other.state, other.revision, set(other.scores)) == (
        "00000003_000.png",
        "scored",
        1,
        {"Abnormal", "Effusion"},
    )


def test_a_patients_scans_stand_in_time_with_the_score_of_this_run_or_of_the_latest(engine, tmp_path):
    """Study dates come first, then follow-up numbers, then ages; what has none comes last."""
    first, _ = enqueue(engine, tmp_path, count=5)
    score_all(engine, first)
    second, _ = enqueue(engine, tmp_path, count=3, sha256="b" * 64)
    change(engine, Scan, Scan.id < 6, patient_id="7", follow_up=None, age_years=None)
    known = {4: {"study_date": date(2026, 1, 2)}, 2: {"study_date": date(2026, 1, 1)}, 5: {"follow_up": 0}}
    for scan, values in (known | {1: {"age_years": 50.0}}).items():
        change(engine, Scan, Scan.id == scan, **values)
    with read_transaction(engine) as connection:
        found = scans_of_patient(connection, second, find_scan_details(connection, second, 3), "Effusion")
        nobodys = replace(find_scan_details(connection, first, 3), patient_id=None)
        assert scans_of_patient(connection, first, nobodys, "Effusion") is None
        assert [one.run_id for one in scores_in_runs(connection, second, 3, "Effusion")] == [second, first]
        assert [one.run_id for one in scores_in_runs(connection, first, 4, "Effusion")] == [first]
    assert [(one.scan_id, one.run_id) for one in found.scans] == [
        (2, second),
        (4, first),
        (5, first),
        (1, second),
        (3, second),
    ]
    assert (found.before, found.after) == (0, 0)
    assert [one.score for one in found.scans] == pytest.approx([0.2, 0.4, 0.5, 0.1, 0.3])


def test_of_a_patient_with_many_scans_those_around_this_one_are_read_and_the_others_counted(engine, tmp_path):
    """25 before and 25 after it, whichever it is."""
    run, _ = enqueue(engine, tmp_path, count=70)
    change(engine, Scan, Scan.id > 0, patient_id="7", follow_up=Scan.id)
    with read_transaction(engine) as connection:
        for scan, expected in ((1, (1, 26, 0, 44)), (40, (15, 65, 14, 5)), (70, (45, 70, 44, 0))):
            found = scans_of_patient(connection, run, find_scan_details(connection, run, scan), "Effusion")
            ids = [one.scan_id for one in found.scans]
            assert (ids[0], ids[-1], found.before, found.after) == expected
            assert ids == list(range(ids[0], ids[-1] + 1))
