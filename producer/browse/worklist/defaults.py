"""What a worklist's address means where it says nothing: the finding, and the model's own threshold of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    own = own_thresholds(connection, run)
    return parse_query(
        params,
        findings=findings,
        default_finding=ABNORMAL if ABNORMAL in findings else findings[0],
        default_threshold={finding: own[finding].value if finding in own else PLAIN_THRESHOLD for finding in findings},
    )


@dataclass(frozen=True, kw_only=True)
class OwnThreshold:
    """The threshold of a finding at which a page predicts unless the address names another."""

    #: In the model's manifest, such as `best_f1`, or `published` of an imported model.
    name: str
    #: In [0, 1].
    value: float


def own_thresholds(connection: Connection, run: RunInfo) -> dict[str, OwnThreshold]:
    """The threshold of the run's model by finding: of best F1, or else its first. Findings without one are left out."""
    thresholds = thresholds_of(connection, find_model(connection, run.model_sha256).id)
    return {finding: _choose(chosen) for finding, chosen in thresholds.items() if chosen}


def _choose(chosen: Mapping[str, float]) -> OwnThreshold:
    name = BEST_F1 if BEST_F1 in chosen else next(iter(chosen))
    return OwnThreshold(name=name, value=chosen[name])
