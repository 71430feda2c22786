"""Writes to the ledger what producers and workers commit, without a queue and pixels."""

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.labels.csv_file import LabelRow, LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.models import find_model, register_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import Scored, pending_of_run, record_outcomes, still_pending
from db.ledger.scans import FoundImage, register_scans


def labels_file(tmp_path, count=4, sha256="a" * 64, relabelled=None):
    """A labels CSV; `relabelled` has other findings than the usual ones by the row's number."""
    relabelled = relabelled or {}
    rows = tuple(
        LabelRow(
            image_name=f"{n:08d}_000.png",
            findings=(relabelled.get(n, "Effusion" if n % 2 else "No Finding"),),
            patient_id=str(n),
            view="PA",
            sex="F",
            age_years=60.0,
            follow_up=0,
        )
        for n in range(count)
    )
    return LabelsFile(path=tmp_path / "sample_labels.csv", sha256=sha256, dataset="sample_labels", rows=rows)


def a_model(connection, sha256="m" * 64, name="m", used=()):
    manifest = {"name": name, "dataset": "sample_labels", "findings": ["Abnormal", "Effusion"]}
    return register_model(connection, sha256=sha256, manifest=manifest, used=used)


def enqueue(engine, tmp_path, **options):
    """Commit an enqueue as a producer does; returns the run's id and whether it was joined."""
    with engine.begin() as connection:
        return commit(connection, tmp_path, **options)


def commit(
    connection,
    tmp_path,
    *,
    missing=(),
    changed=(),
    rescore=False,
    sha256="a" * 64,
    count=4,
    relabelled=None,
    admitted=(),
):
    """The same in the caller's transaction.

    Images are at /x/NAME, except for the row numbers in `missing`; `changed` has scan ids.
    """
    file = labels_file(tmp_path, count, sha256=sha256, relabelled=relabelled)
    found = {
        row.image_name: FoundImage(location=f"/x/{row.image_name}")
        for i, row in enumerate(file.rows)
        if i not in missing
    }
    lock_for_enqueue(connection)
    model = a_model(connection)
    ids = register_scans(connection, file.dataset, file.rows, found)
    request = RunRequest(
        source="sample_labels.csv",
        sha256=sha256,
        dataset=file.dataset,
        model_id=model.id,
        label_set_id=import_labels(connection, file, file.rows, ids, file.dataset),
        options={"rescore": rescore},
    )
    options = {"changed": frozenset(changed), "rescore": rescore, "admitted": frozenset(admitted)}
    return open_run(connection, request, list(ids.values()), **options)


def scored(outcome_id, score=0.25):
    scores = {"Abnormal": score, "Effusion": score}
    return Scored(outcome_id=outcome_id, scores=scores, content="sha256:x", runtime="t", precision="float32")


def ids_of(engine, run_id):
    with read_transaction(engine) as connection:
        return [scan.outcome_id for scan in pending_of_run(connection, run_id)]


def pending_scan(engine, outcome_id):
    """What a worker holds that asked for an outcome of the model `m`."""
    with read_transaction(engine) as connection:
        return still_pending(connection, [outcome_id], "m" * 64)[0]


def score_all(engine, run_id):
    """Score a run's pending scans with 0.1, 0.2 ... in the order of its outcomes, and close it."""
    with engine.begin() as connection:
        waiting = pending_of_run(connection, run_id)
        findings = find_model(connection, None).findings
        outcomes = [
            Scored(
                outcome_id=scan.outcome_id,
                scores=dict.fromkeys(findings, number / 10),
                content="sha256:x",
                runtime="t",
                precision="float32",
            )
            for number, scan in enumerate(waiting, start=1)
        ]
        record_outcomes(connection, outcomes)
    close_finished_runs(engine)
