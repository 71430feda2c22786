"""Patients of a run's scans, and of its model's fit, are counted on both databases."""

from sqlalchemy import update

from db.engine.session import read_transaction
from db.ledger.models import UsedScan
from db.metrics.known_patients import KnownPatients, read_known_patients
from db.schema.tables import Scan
from tests.support.ledger import a_model, enqueue


def used(number, patient, subset="train"):
    return UsedScan(image_name=f"old{number}.png", patient_id=patient, subset=subset)


def test_scans_of_the_run_and_of_the_fit_are_counted_with_and_without_a_patient(engine, tmp_path):
    """Test scans do not count: the model has not learned from them."""
    with engine.begin() as connection:
        a_model(connection, used=[used(1, "1"), used(2, None, "validation"), used(3, "3", "test")])
    run, _ = enqueue(engine, tmp_path)
    with engine.begin() as connection:
        connection.execute(update(Scan).where(Scan.image_name == "00000002_000.png").values(patient_id=None))
    with read_transaction(engine) as connection:
        found = read_known_patients(connection, run)
    assert found == KnownPatients(scans=4, scans_with_patient=3, fitted=2, fitted_with_patient=1)
