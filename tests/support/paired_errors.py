"""How often comparisons of `db.evaluation` find a difference, on generated patients whose scans have two scores."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from db.evaluation.cohort import Cohort, Sample
from db.evaluation.comparison import FindingComparison, compare_finding
from tests.support.clustered_sets import Kind, Second, paired_sets, patients_for

FIGURES: Final = ("auroc", "sensitivity", "specificity", "brier")
TESTS: Final = (*FIGURES, "flagged", "correct")
_FINDING: Final = "Finding"
_TRUTH_SEED: Final = 1


@dataclass(frozen=True, kw_only=True)
class Found:
    """Of some pairs of sets; shares are of those that have a p or an interval."""

    #: By test: the share of sets that have a p.
    judged: Mapping[str, float]
    #: By test: the share whose p is below 0.05.
    raised: Mapping[str, float]
    #: By figure: the share of intervals that hold the true difference.
    covered: Mapping[str, float]


def cohort_of(sample: Sample) -> Cohort:
    """A sample as a cohort of one finding."""
    return Cohort(
        findings=(_FINDING,),
        scores=sample.scores[:, None],
        labels=sample.labels[:, None],
        known=np.ones((len(sample.labels), 1), np.bool_),
        patients=sample.patients,
        has_patient=np.ones(len(sample.labels), np.bool_),
    )


def compare(first: Sample, second: Sample, threshold: float) -> FindingComparison:
    """Compare two scores of the same scans at one threshold."""
    return compare_finding(
        cohort_of(first), cohort_of(second), _FINDING, first_threshold=threshold, second_threshold=threshold
    )


def true_differences(kind: Kind, second: Second, *, patients: int) -> dict[str, float]:
    """The differences of one large pair of sets."""
    pair = paired_sets(kind, patients, second, np.random.default_rng(_TRUTH_SEED))
    figures = compare(*pair, kind.threshold).figures
    return {name: one.difference.value for name, one in figures.items() if one.difference.value is not None}


def found(kind: Kind, second: Second, truth: Mapping[str, float], *, positives: int, sets: int, seed: int = 0) -> Found:
    """Generate pairs of sets with this number of positives on average, and count what comparisons find."""
    rng, patients = np.random.default_rng([seed, positives]), patients_for(kind, positives)
    judged, raised, covered = Counter[str](), Counter[str](), Counter[str]()
    for _ in range(sets):
        compared = compare(*paired_sets(kind, patients, second, rng), kind.threshold)
        for name, p in _p_values(compared).items():
            judged[name] += p is not None
            raised[name] += p is not None and p < 0.05
        for name in FIGURES:
            apart = compared.figures[name].difference
            covered[name] += apart.low is not None and apart.low <= truth[name] <= apart.high
    return Found(
        judged={name: judged[name] / sets for name in TESTS},
        raised={name: raised[name] / judged[name] for name in TESTS if judged[name]},
        covered={name: covered[name] / judged[name] for name in FIGURES if judged[name]},
    )


def _p_values(compared: FindingComparison) -> dict[str, float | None]:
    correct = None if compared.correct is None else compared.correct.p_value
    return {name: one.p_value for name, one in compared.figures.items()} | {
        "flagged": compared.flagged.p_value,
        "correct": correct,
    }
