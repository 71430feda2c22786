"""How often 95% intervals of `db.evaluation` cover the truth, on generated patients whose scans are alike."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from db.evaluation.cohort import Sample
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import figures_of
from db.evaluation.rates import predictive_values, rates_at
from tests.support.clustered_sets import Kind, clustered_set, patients_for

FIGURES: Final = (
    "auroc",
    "average_precision",
    "brier",
    "calibration_slope",
    "calibration_intercept",
    "observed_over_expected",
)
RATES: Final = ("precision", "recall", "specificity", "npv", "f1", "accuracy", "balanced_accuracy")
#: The prevalence for which precision and NPV are stated.
_PREVALENCE: Final = 0.3
_TRUTH_SEED: Final = 1


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of some sets with so many positives on average."""

    sets: int
    #: Sets with five positives and negatives of five patients each: the others have no intervals.
    judged: int
    #: By figure: the share of its intervals that hold the truth.
    covered: Mapping[str, float]


def figures_by_name(sample: Sample, threshold: float) -> dict[str, Estimate]:
    """Every figure that has an interval, the rates at one threshold."""
    figures, rates = figures_of(sample), rates_at(sample, [threshold])[0]
    at_prevalence = predictive_values(rates, _PREVALENCE)
    return (
        {name: getattr(figures, name) for name in FIGURES}
        | {name: getattr(rates, name) for name in RATES}
        | {"precision at a prevalence": at_prevalence.precision, "npv at a prevalence": at_prevalence.npv}
    )


def true_figures(kind: Kind, *, patients: int) -> dict[str, float]:
    """The figures of one large set."""
    large = clustered_set(kind, patients, np.random.default_rng(_TRUTH_SEED))
    found = figures_by_name(large, kind.threshold)
    return {name: one.value for name, one in found.items() if one.value is not None}


def coverage(kind: Kind, truth: Mapping[str, float], *, positives: int, sets: int, seed: int = 0) -> Coverage:
    """Generate sets with so many positives on average, and count the intervals that hold the truth."""
    rng, patients = np.random.default_rng([seed, positives]), patients_for(kind, positives)
    tried, covered, judged = Counter[str](), Counter[str](), 0
    for _ in range(sets):
        sample = clustered_set(kind, patients, rng)
        if sample.no_interval is not None:
            continue
        judged += 1
        for name, found in figures_by_name(sample, kind.threshold).items():
            if found.low is not None and found.high is not None:
                tried[name] += 1
                covered[name] += found.low <= truth[name] <= found.high
    return Coverage(sets=sets, judged=judged, covered={name: covered[name] / tried[name] for name in truth})
