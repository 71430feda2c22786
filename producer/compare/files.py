"""A comparison as text for files: compare.json and changed.csv. They name no image and no patient."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any, Final

from db.evaluation.cohort import Cohort, Mask
from db.evaluation.run_pair import RunPair
from producer.compare.build import RunComparison
from producer.compare.sentences import coverage_line, direction_note, interval_note, multiplicity_note, warnings
from producer.compare.verdict import headline
from producer.json_output import as_json

COLUMNS: Final = ("scan_id", "finding", "first_score", "second_score", "first_label", "second_label")


def to_json(comparison: RunComparison) -> str:
    """The whole comparison as JSON, with what it says in sentences, but without the scans: changed.csv has them."""
    values = asdict(comparison)
    for finding in values["findings"].values():
        finding["changed"] = int(finding["changed"].sum())
    sentences = {
        "headline": headline(comparison),
        "warnings": warnings(comparison),
        "coverage_line": coverage_line(comparison),
        "direction_note": direction_note(comparison),
        "interval_note": interval_note(comparison),
        "multiplicity_note": multiplicity_note(comparison),
    }
    return as_json(values | sentences) + "\n"


def to_csv(comparison: RunComparison, pair: RunPair) -> Iterator[str]:
    """A row for each scan and finding whose prediction changed; a label that is not known is empty.

    Args:
        comparison: of which `changed` says which scans these are.
        pair: the scans that the comparison is of.

    Yields:
        The header, then the rows of each finding.
    """
    yield _as_csv([COLUMNS])
    for finding, compared in comparison.findings.items():
        rows = changed_scans(pair, finding, compared.changed)
        yield _as_csv([scan_id, finding, *cells] for scan_id, *cells in rows)


def _as_csv(rows: Iterable[Sequence[Any]]) -> str:
    out = StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def changed_scans(pair: RunPair, finding: str, changed: Mask) -> Iterator[tuple[Any, ...]]:
    """Scan id, both scores and both labels (0, 1 or None) of each scan, in the order of their ids.

    Args:
        pair: N scans.
        finding: of scores and labels.
        changed: (N,) bool: the scans.
    """
    column = pair.first.findings.index(finding)
    cohorts = (pair.first, pair.second)
    scores = [cohort.scores[changed, column].tolist() for cohort in cohorts]
    labels = [_labels(cohort, column, changed) for cohort in cohorts]
    return zip(pair.scan_ids[changed].tolist(), *scores, *labels, strict=True)


def _labels(cohort: Cohort, column: int, chosen: Mask) -> list[int | None]:
    pairs = zip(cohort.labels[chosen, column].tolist(), cohort.known[chosen, column].tolist(), strict=True)
    return [int(label) if is_known else None for label, is_known in pairs]
