"""A scan's scores as its page shows them: beside labels, thresholds and predictions. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from db.evaluation.format import name_threshold
from db.ledger.scan_details import ScanDetails
from db.schema.tables import NEGATIVE, POSITIVE, UNCERTAIN
from producer.browse.worklist.query import WorklistQuery

POSITIVE_WORD: Final = "positive"
NEGATIVE_WORD: Final = "negative"
_LABELS: Final = {POSITIVE: POSITIVE_WORD, NEGATIVE: NEGATIVE_WORD, UNCERTAIN: "uncertain", None: "unlabelled"}


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """The score of one finding."""

    finding: str
    #: In [0, 1]; None without one.
    score: float | None
    #: `positive`, `negative`, `uncertain` or `unlabelled`.
    label: str
    #: At which the page predicts, in [0, 1], and where it comes from.
    threshold: float
    threshold_name: str
    #: The model's own thresholds by name.
    own: Mapping[str, float]
    #: It is the one that the page is about.
    is_current: bool

    @property
    def is_positive(self) -> bool:
        """Whether the prediction is positive."""
        return self.score is not None and self.score >= self.threshold

    @property
    def prediction(self) -> str | None:
        """In words; None without a score."""
        if self.score is None:
            return None
        return POSITIVE_WORD if self.is_positive else NEGATIVE_WORD


def score_rows(scan: ScanDetails, query: WorklistQuery, own: Mapping[str, Mapping[str, float]]) -> list[ScoreRow]:
    """A row for each finding that the run's model scores, in its order.

    Args:
        scan: with its scores and labels.
        query: of the page. A threshold that differs from its finding's default holds for every finding.
        own: the model's thresholds by finding and name.
    """
    defaults = query.defaults.thresholds
    given = None if query.threshold == defaults[query.finding] else query.threshold
    return [_row(finding, scan, query, own.get(finding, {}), given) for finding in defaults]


def name_of_threshold(threshold: float, own: Mapping[str, float], *, given: bool) -> str:
    """Where a page's threshold comes from, such as `the model's best F1`."""
    names = [name_threshold(name) for name, value in own.items() if value == threshold]
    if names:
        return f"the model's {names[0]}"
    return "chosen here" if given else "the model has none of its own"


def other_labels(scan: ScanDetails, findings: Sequence[str]) -> list[str]:
    """The findings that the labels have and the model does not score, such as `Hernia` or `Edema (uncertain)`."""
    labels = {finding: label for finding, label in scan.labels.items() if finding not in findings}
    marks = {POSITIVE: "", UNCERTAIN: " (uncertain)"}
    return [finding + marks[label] for finding, label in labels.items() if label in marks]


def _row(
    finding: str, scan: ScanDetails, query: WorklistQuery, own: Mapping[str, float], given: float | None
) -> ScoreRow:
    threshold = query.defaults.thresholds[finding] if given is None else given
    return ScoreRow(
        finding=finding,
        score=scan.scores.get(finding),
        label=_LABELS[scan.labels.get(finding)],
        threshold=threshold,
        threshold_name=name_of_threshold(threshold, own, given=given is not None),
        own=own,
        is_current=finding == query.finding,
    )
