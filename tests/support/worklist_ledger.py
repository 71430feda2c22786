"""A ledger with three runs of the same scans, in which a worklist finds all that a scan can be."""

from sqlalchemy import select

from db.close_run import close_finished_runs
from db.engine.session import open_database
from db.findings import ABNORMAL
from db.ledger.models import find_model
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import ATTEMPTS_CAP, Rejected, Scored, count_attempt, pending_of_run, record_outcomes
from db.schema.tables import RunScan
from tests.support.report_ledger import ReportedRun, make_report_ledger

#: It is finished and has labels.
FINISHED = 1
#: It has the outcomes of the first and no labels.
REUSED = 2
#: Half of it is pending; other scans are scored, rejected or quarantined. It has the labels of the first.
OPEN = 3
RUNS = (FINISHED, REUSED, OPEN)
#: The label set does not say whether a scan has the last one.
FINDINGS = (ABNORMAL, "Effusion", "Hernia", "Fracture")


def make_worklist_ledger(url, *, scans=120, fitted_scans_unknown=False):
    """Write the ledger. Many scores are equal, many labels are uncertain or missing, and one scan in 50 is rejected."""
    size = {"scans": scans, "patients": scans // 3, "fitted": scans // 10}
    make_report_ledger(url, ReportedRun(**size, findings=FINDINGS, fitted_scans_unknown=fitted_scans_unknown))
    engine = open_database(url)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        assert open_again(connection, "again.csv", label_set_id=None) == REUSED
    close_finished_runs(engine)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        assert open_again(connection, "rescored.csv", label_set_id=1, rescore=True) == OPEN
        pending = pending_of_run(connection, OPEN)
        record_outcomes(connection, [outcome_of(scan) for scan in pending[: scans // 2]])
        for _ in range(ATTEMPTS_CAP):
            count_attempt(connection, pending[-1])
    engine.dispose()


def open_again(connection, source, *, label_set_id, rescore=False):
    """Open a run over the scans of the first; returns its number."""
    scans = connection.execute(select(RunScan.scan_id).where(RunScan.run_id == FINISHED)).scalars().all()
    request = RunRequest(
        source=source,
        sha256="b" * 64,
        dataset="nights",
        model_id=find_model(connection, None).id,
        label_set_id=label_set_id,
        options={"rescore": rescore},
    )
    return open_run(connection, request, scans, rescore=rescore)[0]


def outcome_of(scan):
    """An outcome of a pending scan, by which three in four are scored."""
    if scan.outcome_id % 4 == 0:
        return Rejected(outcome_id=scan.outcome_id, reason=("missing", "dicom")[scan.scan_id % 2], detail="a sentence")
    scores = {finding: (scan.scan_id * 7 + number) % 10 / 10 for number, finding in enumerate(FINDINGS)}
    return Scored(
        outcome_id=scan.outcome_id, scores=scores, content=f"sha256:{scan.scan_id}", runtime="t", precision="float32"
    )
