"""A run's AUROC with its interval, computed from the scores and labels that are there now."""

from typing import Final

from sqlalchemy import Connection

from db.evaluation.evaluate import figures_of
from db.evaluation.format import UNDEFINED, format_estimate
from db.evaluation.run_cohort import read_cohort
from db.ledger.runs import find_run
from db.metrics.known_patients import read_known_patients
from db.metrics.report_queries import eligible_scans, find_label_set
from db.metrics.scored_scans import HELD_OUT, read_scored_scans
from producer.report.findings import choose_finding
from producer.report.sentences import describe_scans

_NO_LABELS: Final = (UNDEFINED, "no labels")
_NO_FINDING: Final = (UNDEFINED, "the labels judge no finding of the model")


def describe_auroc(connection: Connection, run_id: int) -> tuple[str, str]:
    """The figure of the headline of the run's report, and what it is of: `Abnormal, 109 held-out scans`.

    Args:
        connection: a `read_transaction`.
        run_id: the run.

    Raises:
        UserError: there is no such run.
    """
    labels = find_label_set(connection, find_run(connection, run_id).id, None)
    if labels is None:
        return _NO_LABELS
    scored = read_scored_scans(connection, run_id, labels.id)
    if not scored.judged:
        return _NO_FINDING
    used = eligible_scans(scored, labels.id) & scored.in_subset(HELD_OUT)
    cohort = read_cohort(connection, run_id, scored).filter(used)
    finding = choose_finding(cohort.findings, None)
    figures = figures_of(cohort.sample(finding))
    scans = describe_scans(HELD_OUT, read_known_patients(connection, run_id))
    return format_estimate(figures.auroc), f"{finding}, {figures.scans:,} {scans}"
