"""What a worklist's address means where it says nothing: the finding, and the model's own threshold of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from db.findings import ABNORMAL
from db.metrics.run_metrics import BEST_F1
from producer.browse.worklist.query import WorklistQuery, parse_query

#: The threshold of a finding for which the model has none of its own.
PLAIN_THRESHOLD: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class OwnThreshold:
    """The threshold of a finding at which a page predicts unless the address names another."""

    #: In the model's manifest, such as `best_f1`, or `published` of an imported model.
    name: str
    #: In [0, 1].
    value: float


def own_thresholds(thresholds: Mapping[str, Mapping[str, float]]) -> dict[str, OwnThreshold]:
    """Of each finding's thresholds by name, that of best F1, or else the first. Findings without one are left out."""
    return {finding: _choose(chosen) for finding, chosen in thresholds.items() if chosen}


def read_query(params: Mapping[str, str], findings: Sequence[str], own: Mapping[str, OwnThreshold]) -> WorklistQuery:
    """Read the query of a run's worklist from the parameters of an address.

    Args:
        params: by name.
        findings: those that the run's model scores.
        own: its thresholds, see `own_thresholds`.

    Raises:
        UserError: a parameter has a value that it cannot have.
    """
    return parse_query(
        params,
        findings=findings,
        default_finding=ABNORMAL if ABNORMAL in findings else findings[0],
        default_threshold={finding: own[finding].value if finding in own else PLAIN_THRESHOLD for finding in findings},
    )


def _choose(chosen: Mapping[str, float]) -> OwnThreshold:
    name = BEST_F1 if BEST_F1 in chosen else next(iter(chosen))
    return OwnThreshold(name=name, value=chosen[name])
