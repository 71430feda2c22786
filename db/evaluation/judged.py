"""One side of a comparison: the scores and labels of the judged scans, and the figures that are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from db.evaluation.calibration import brier_statistic, ratio_statistic
from db.evaluation.cohort import Mask, Sample
from db.evaluation.estimate import Estimate, Statistic, estimate, within
from db.evaluation.ranking import auroc_statistic
from db.evaluation.rates import rates_at


@dataclass(frozen=True, kw_only=True)
class Judged:
    """N scans whose label is known to both sides."""

    sample: Sample
    #: In [0, 1]; a prediction is score >= threshold.
    threshold: float

    @cached_property
    def flags(self) -> Mask:
        """(N,) whether each scan is predicted to be positive."""
        return np.asarray(self.sample.scores >= self.threshold)

    @cached_property
    def correct(self) -> Mask:
        """(N,) whether each scan's prediction is what its label says."""
        return np.asarray(self.flags == self.sample.labels)

    @cached_property
    def statistics(self) -> Mapping[str, Statistic | None]:
        """By name of the figure."""
        return {
            "auroc": auroc_statistic(self.sample),
            "sensitivity": self._share_correct(self.sample.labels),
            "specificity": self._share_correct(~self.sample.labels),
            "brier": brier_statistic(self.sample),
        }

    def estimates(self, *, with_intervals: bool) -> dict[str, Estimate]:
        """By name of the figure, with the interval that an evaluation of this side alone has, or without one."""
        rates = rates_at(self.sample, [self.threshold])[0]
        found = {
            "auroc": estimate(self.statistics["auroc"], "logit"),
            "sensitivity": rates.recall,
            "specificity": rates.specificity,
            "brier": within(estimate(self.statistics["brier"], "log"), 0, 1),
        }
        return found if with_intervals else {name: Estimate(value=figure.value) for name, figure in found.items()}

    def changed(self, other: "Judged") -> dict[str, Mask]:
        """By name of the figure: (N,) the scans that count for it on either side, and not equally on both."""
        labels = self.sample.labels != other.sample.labels
        scores, flags = labels | (self.sample.scores != other.sample.scores), labels | (self.flags != other.flags)
        return {
            "auroc": scores,
            "sensitivity": flags & (self.sample.labels | other.sample.labels),
            "specificity": flags & ~(self.sample.labels & other.sample.labels),
            "brier": scores,
        }

    def _share_correct(self, members: Mask) -> Statistic | None:
        return ratio_statistic(self.sample, (members & self.correct).astype(np.float64), members.astype(np.float64))
