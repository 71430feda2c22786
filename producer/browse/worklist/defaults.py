"""What a worklist's address means where it says nothing: the finding, and the model's own threshold of it."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from db.findings import ABNORMAL
from db.ledger.models import find_model, thresholds_of
from db.ledger.runs import RunInfo
from db.metrics.run_metrics import BEST_F1
from producer.browse.worklist.query import WorklistQuery, parse_query

#: The threshold of a finding for which the model has none of its own.
PLAIN_THRESHOLD: Final = 0.5


def read_query(
    connection: Connection, run: RunInfo, findings: Sequence[str], params: Mapping[str, str]
) -> WorklistQuery:
    """Read the query of a run's worklist from the parameters of an address.

    Args:
        connection: only reads.
        run: the run.
        findings: those that its model scores.
        params: by name.

    Raises:
        UserError: a parameter has a value that it cannot have.
    """
    own = best_f1_thresholds(connection, run)
    return parse_query(
        params,
        findings=findings,
        default_finding=ABNORMAL if ABNORMAL in findings else findings[0],
        default_threshold={finding: own.get(finding, PLAIN_THRESHOLD) for finding in findings},
    )


def best_f1_thresholds(connection: Connection, run: RunInfo) -> dict[str, float]:
    """The thresholds of the run's model, in [0, 1], by finding; findings without one are left out."""
    thresholds = thresholds_of(connection, find_model(connection, run.model_sha256).id)
    return {finding: chosen[BEST_F1] for finding, chosen in thresholds.items() if BEST_F1 in chosen}
