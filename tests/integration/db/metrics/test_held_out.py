"""Which scans of a run its model has seen, on both databases; `find_seen_scans` is the same in memory."""

from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, insert

from db.ledger.models import UsedScan, register_model
from db.metrics.held_out import seen_scans
from db.schema.tables import SCORED, Outcome, Run, RunScan, Scan
from tests.support.held_out_cases import Fitted, HeldOutCase, each_held_out_case, hash_of

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
RUN = 1


def register(connection: Connection, fitted: tuple[Fitted, ...]) -> int:
    """Register a model of dataset `nih` with this split, and return its id."""
    manifest = {"name": "m", "dataset": "nih", "findings": ["Abnormal"]}
    used = [
        UsedScan(
            image_name=one.image,
            patient_id=one.patient,
            subset=one.subset,
            dataset=one.dataset,
            content=hash_of(one.content),
        )
        for one in fitted
    ]
    return register_model(connection, sha256="ab" * 32, manifest=manifest, used=used).id


def open_run(connection: Connection, case: HeldOutCase) -> None:
    """A run of the case's scans, numbered from 1, each with an outcome."""
    model = register(connection, tuple(case.fitted))
    run = {"id": RUN, "identity": "1", "source": "s.csv", "sha256": "0" * 64, "dataset": case.dataset, "options": {}}
    connection.execute(insert(Run), [run | {"model_id": model, "created_at": LONG_AGO}])
    for number, scan in enumerate(case.scans, start=1):
        values = {"dataset": case.dataset, "image_name": scan.image, "patient_id": scan.patient}
        connection.execute(insert(Scan), [{"id": number, **values}])
        outcome = {"id": number, "scan_id": number, "model_id": model, "revision": 1, "state": SCORED, "attempts": 0}
        connection.execute(insert(Outcome), [outcome | {"content": hash_of(scan.content)}])
        connection.execute(insert(RunScan), [{"run_id": RUN, "scan_id": number, "outcome_id": number, "reused": False}])


@each_held_out_case
def test_a_run_knows_which_scans_its_model_has_seen(engine: Engine, case: HeldOutCase) -> None:
    """The rule in SQL; `trainer evaluate` is held to the same table of cases."""
    with engine.begin() as connection:
        open_run(connection, case)
        seen = {number: ("patient", "itself")[itself] for number, itself in connection.execute(seen_scans(RUN))}
    expected = {number: scan.expected for number, scan in enumerate(case.scans, start=1)}
    assert {number: seen.get(number, "held out") for number in expected} == expected
