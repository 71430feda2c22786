"""Reads the scans that two runs have both scored, as two cohorts of the same scans."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import aliased

from db.evaluation.cohort import Cohort, Mask
from db.evaluation.run_cohort import read_cohort
from db.metrics.scored_scans import HELD_OUT, read_scored_scans
from db.schema.tables import SCORED, Outcome, RunScan, Scan

#: Parameters of one statement.
_IDS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class RunPair:
    """N scans that both runs scored, in the order of their ids."""

    #: (N,) ascending.
    scan_ids: NDArray[np.int64]
    #: Both have the findings that both models score, and the same patients; labels are those of each one's label set.
    first: Cohort
    second: Cohort
    #: (N,) bool: either model has seen the scan or its patient.
    seen: Mask

    def filter(self, mask: Mask) -> "RunPair":
        """The scans for which the mask, (N,) bool, is true."""
        # A million scans of two runs are 300 MB, which need not be there twice.
        if mask.all():
            return self
        return RunPair(
            scan_ids=self.scan_ids[mask],
            first=self.first.filter(mask),
            second=self.second.filter(mask),
            seen=self.seen[mask],
        )


def read_run_pair(
    connection: Connection,
    runs: tuple[int, int],
    label_set_ids: tuple[int | None, int | None],
    findings: tuple[str, ...],
) -> RunPair:
    """Read the scans that two runs have both scored.

    Args:
        connection: a `read_transaction`, in which all of this is of one moment.
        runs: the first and the second run.
        label_set_ids: the label set that judges each run; None leaves its labels unknown.
        findings: that both models score.
    """
    scored = read_scored_scans(connection, runs[0], label_set_ids[0])
    # Its groups are not compared.
    first = replace(read_cohort(connection, runs[0], replace(scored, judged=findings)), groupings={})
    scan_ids, seen = scored.scan_ids, ~scored.in_subset(HELD_OUT)
    # This frees the first run's scores, of which `first` has a copy.
    scored = read_scored_scans(connection, runs[1], label_set_ids[1])
    in_second = np.isin(scan_ids, scored.scan_ids, assume_unique=True)
    in_first = np.isin(scored.scan_ids, scan_ids, assume_unique=True)
    columns = np.array([scored.findings.index(finding) for finding in findings])
    cells = np.ix_(in_first, columns)
    first = first if in_second.all() else first.filter(in_second)
    return RunPair(
        scan_ids=scan_ids[in_second],
        first=first,
        second=replace(first, scores=scored.scores[cells], labels=scored.labels[cells], known=scored.known[cells]),
        seen=seen[in_second] | ~scored.in_subset(HELD_OUT)[in_first],
    )


@dataclass(frozen=True, kw_only=True)
class OutcomePairs:
    """Of the scans that both runs scored, how many have outcomes of which something is known beforehand."""

    #: One outcome in both runs: the later run took it over from the earlier one.
    same: int
    #: Outcomes of other bytes of the image, which was changed between the runs.
    other_bytes: int


def count_outcome_pairs(connection: Connection, runs: tuple[int, int]) -> OutcomePairs:
    """Count them. A scan whose bytes one of the outcomes does not tell counts as unchanged."""
    other_scan, other = aliased(RunScan), aliased(Outcome)
    both_hashed = Outcome.content.startswith("sha256:") & other.content.startswith("sha256:")
    changed = both_hashed & (Outcome.content != other.content)
    query = (
        select(func.count().filter(Outcome.id == other.id), func.count().filter(changed))
        .select_from(RunScan)
        .join(other_scan, other_scan.scan_id == RunScan.scan_id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .join(other, other.id == other_scan.outcome_id)
        .where(RunScan.run_id == runs[0], other_scan.run_id == runs[1], Outcome.state == SCORED, other.state == SCORED)
    )
    same, other_bytes = connection.execute(query).one()
    return OutcomePairs(same=same, other_bytes=other_bytes)


def read_image_names(connection: Connection, scan_ids: Sequence[int]) -> dict[int, str]:
    """The image names of scans by id. They may hold patient ids, so they are for the eyes of the one that asks."""
    names: dict[int, str] = {}
    for start in range(0, len(scan_ids), _IDS_AT_ONCE):
        chosen = Scan.id.in_(scan_ids[start : start + _IDS_AT_ONCE])
        rows = connection.execute(select(Scan.id, Scan.image_name).where(chosen))
        names.update((row.id, row.image_name) for row in rows)
    return names
