"""Computes a run's metrics in memory: closing stores these rows, and a report shows them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from db.metrics.formulas import ConfusionMatrix, RocCurve, roc_curve
from db.metrics.scored_scans import Mask, ScoredScans

#: The thresholds of the mini project's table.
DEFAULT_THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
#: How a threshold was chosen: given by the caller, or as the best of a criterion. The latter are chosen on the same
#: scans that they are measured on, so their rows are optimistic.
GIVEN: Final = "given"
BEST_F1: Final = "best_f1"
YOUDEN: Final = "youden"


@dataclass(frozen=True, kw_only=True)
class ThresholdRow:
    """The counts and rates of one finding at one threshold; an undefined rate is None."""

    finding: str
    #: `given`, `best_f1` or `youden`.
    chosen_by: str
    threshold: float
    tp: int
    fp: int
    fn: int
    tn: int
    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    accuracy: float | None
    balanced_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """The metrics of one finding that need no threshold; an area is None unless both classes are present."""

    finding: str
    auroc: float | None
    average_precision: float | None
    positives: int
    negatives: int


@dataclass(frozen=True, kw_only=True)
class RunMetrics:
    """The metrics of some of a run's scans, by finding (A to Z)."""

    #: Of each finding, the given thresholds come first, then the chosen ones; both ascend.
    thresholds: tuple[ThresholdRow, ...] = ()
    findings: tuple[FindingRow, ...] = ()


def compute_metrics(
    scored: ScoredScans, thresholds: Iterable[float] = DEFAULT_THRESHOLDS, mask: Mask | None = None
) -> RunMetrics:
    """Compute the metrics of every judged finding, at these thresholds and at the two chosen ones.

    Each finding's metrics are of the scans whose label of it is known.

    Args:
        scored: the scans, under a label set.
        thresholds: each in [0, 1].
        mask: (N,) bool: the scans that count; None means all of them.
    """
    given = sorted(set(thresholds))
    threshold_rows: list[ThresholdRow] = []
    finding_rows = []
    for finding in sorted(scored.judged):
        # One sort of the scores serves every row of a finding.
        curve = roc_curve(*scored.labels_and_scores(finding, mask))
        threshold_rows += _threshold_rows(finding, curve, given)
        finding_rows.append(_finding_row(finding, curve))
    return RunMetrics(thresholds=tuple(threshold_rows), findings=tuple(finding_rows))


def _threshold_rows(finding: str, curve: RocCurve, given: Sequence[float]) -> Iterator[ThresholdRow]:
    for threshold in given:
        yield _threshold_row(finding, GIVEN, threshold, curve.confusion_matrix_at(threshold))
    best = ((curve.best_f1_threshold, BEST_F1), (curve.youden_threshold, YOUDEN))
    for threshold, chosen_by in sorted((value, name) for value, name in best if value is not None):
        yield _threshold_row(finding, chosen_by, threshold, curve.confusion_matrix_at(threshold))


def _threshold_row(finding: str, chosen_by: str, threshold: float, counts: ConfusionMatrix) -> ThresholdRow:
    return ThresholdRow(
        finding=finding,
        chosen_by=chosen_by,
        threshold=threshold,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        precision=counts.precision,
        recall=counts.recall,
        specificity=counts.specificity,
        f1=counts.f1,
        accuracy=counts.accuracy,
        balanced_accuracy=counts.balanced_accuracy,
    )


def _finding_row(finding: str, curve: RocCurve) -> FindingRow:
    return FindingRow(
        finding=finding,
        auroc=curve.auroc,
        average_precision=curve.average_precision,
        positives=curve.positives,
        negatives=curve.negatives,
    )
