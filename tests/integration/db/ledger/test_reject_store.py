"""One statement rejects everything that waits for a refused store, and nothing else."""

import pytest

from db.engine.session import read_transaction
from db.ledger.open_run import RunRequest, open_run
from db.ledger.outcomes import Rejected, pending_of_model, record_outcomes, reject_store
from db.ledger.scans import FoundImage, register_scans
from tests.support.ledger import a_model, labels_file

STORE = "s3://ward_1/"
LOCATIONS = ["s3://ward_1/a.png", "s3://ward_1/b.png", "s3://wardX1/c.png", "/ward_1/d.png"]
WAITING = "SELECT s.location, m.name FROM outcomes o, scans s, models m WHERE s.id = o.scan_id AND m.id = o.model_id"


@pytest.fixture
def two_models(engine, tmp_path):
    """The same four scans wait for two models."""
    file = labels_file(tmp_path)
    found = {row.image_name: FoundImage(location=location) for row, location in zip(file.rows, LOCATIONS, strict=True)}
    with engine.begin() as connection:
        for name in ("m", "n"):
            model = a_model(connection, sha256=name * 64, name=name)
            ids = register_scans(connection, file.dataset, file.rows, found)
            request = RunRequest(
                source="x", sha256="a" * 64, dataset=file.dataset, model_id=model.id, label_set_id=None, options={}
            )
            open_run(connection, request, list(ids.values()))
    return engine


def still_waiting(engine):
    with read_transaction(engine) as connection:
        return {tuple(row) for row in connection.exec_driver_sql(f"{WAITING} AND o.state = 'pending'")}


def test_only_pending_scans_of_this_store_and_model_are_rejected(two_models):
    """A `_` in a bucket's name is not a wildcard; other models' workers have their own credentials."""
    with two_models.begin() as connection:
        assert reject_store(connection, "m" * 64, STORE, "the bucket does not exist") == 2
    others = {(location, "n") for location in LOCATIONS}
    assert still_waiting(two_models) == {("s3://wardX1/c.png", "m"), ("/ward_1/d.png", "m")} | others


def test_recorded_outcomes_stay(two_models):
    """The first writer wins."""
    with two_models.begin() as connection:
        first = pending_of_model(connection, 1)[0]
        record_outcomes(connection, [Rejected(outcome_id=first.outcome_id, reason="truncated", detail="ends early")])
        assert reject_store(connection, "m" * 64, STORE, "the bucket does not exist") == 1
        kept = "SELECT reason, detail FROM outcomes WHERE state = 'rejected' ORDER BY id"
        assert [tuple(row) for row in connection.exec_driver_sql(kept)] == [
            ("truncated", "ends early"),
            ("s3", "the bucket does not exist"),
        ]
