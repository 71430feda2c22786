"""Figures of a run's scored scans by view. A scan of unknown view is a group of its own, and never taken for PA."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, case, func, select

from db.engine.session import STREAMING
from db.metrics.formulas import auroc
from db.metrics.scored_scans import Mask, ScoredScans
from db.schema.tables import SCORED, Outcome, RunScan, Scan

#: In the order in which they are shown. A column of views may hold any text, even a name, so all else is `other`.
VIEW_GROUPS: Final = ("PA", "AP", "LATERAL", "other", "unknown")
_OTHER, _UNKNOWN = VIEW_GROUPS.index("other"), VIEW_GROUPS.index("unknown")

#: (N,) places in `VIEW_GROUPS`.
Groups: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ViewRow:
    """One finding on the scans of one view."""

    #: One of `VIEW_GROUPS`.
    view: str
    #: Scored scans of the run.
    scored: int
    #: Of the scans that figures are of, those whose label of the finding is known.
    positives: int
    negatives: int
    #: In [0, 1]; None unless both classes are present.
    auroc: float | None


def read_view_groups(connection: Connection, run_id: int) -> Groups:
    """The group of each scored scan of a run, in the order of `read_scored_scans`."""
    known = {view: place for place, view in enumerate(VIEW_GROUPS[:_OTHER])}
    group = case((Scan.view.is_(None), _UNKNOWN), else_=case(known, value=func.upper(Scan.view), else_=_OTHER))
    query = (
        select(group)
        .join(RunScan, RunScan.scan_id == Scan.id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED)
        .order_by(RunScan.scan_id)
    )
    return np.fromiter(connection.execute(query, execution_options=STREAMING).scalars(), np.int64)


def view_rows(scored: ScoredScans, groups: Groups, used: Mask, finding: str) -> tuple[ViewRow, ...]:
    """The rows of the views that the scans have.

    Args:
        scored: N scans.
        groups: (N,) see `read_view_groups`.
        used: (N,) bool: the scans that figures are of.
        finding: one of `ScoredScans.findings`.
    """
    rows = []
    for place in np.unique(groups).tolist():
        labels, scores = scored.labels_and_scores(finding, used & (groups == place))
        rows.append(
            ViewRow(
                view=VIEW_GROUPS[place],
                scored=int((groups == place).sum()),
                positives=int(labels.sum()),
                negatives=int((~labels).sum()),
                auroc=auroc(labels, scores),
            )
        )
    return tuple(rows)
