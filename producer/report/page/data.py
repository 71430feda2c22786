"""What the page looks up: every figure of every finding and group of scans at 101 thresholds, computed once, here."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from db.evaluation.calibration import CalibrationPoint, calibration_curve
from db.evaluation.cohort import Cohort, Mask, Sample
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import GIVEN, Figures, FindingEvaluation
from db.evaluation.format import format_threshold, name_threshold
from db.evaluation.rates import Rates, predictive_values, rates_at, treat_all
from producer.report.build import Report
from producer.report.page.columns import (
    Column,
    PackedColumn,
    differences,
    estimate_columns,
    hundred_thousandths,
    thin_curve,
    thousandths,
)
from producer.report.sentences import threshold_origin

#: Positions of the slider; a finding's own thresholds follow them in every column.
GRID: Final = tuple(k / 100 for k in range(101))
#: The group of all scans. Another one is called `kind/name`.
ALL_SCANS: Final = "all"
_CURVE_POINTS: Final = 200
#: Treating all is drawn down to this multiple of the prevalence.
_LOWEST_BENEFIT: Final = -0.25

_RATES: Final = ("precision", "recall", "specificity", "npv", "f1", "accuracy", "balanced_accuracy")
_FIGURES: Final = (
    "auroc",
    "average_precision",
    "brier",
    "calibration_slope",
    "calibration_intercept",
    "observed_over_expected",
)


def page_data(report: Report, cohort: Cohort) -> dict[str, Any]:
    """What the page shows of a report, as JSON; docs/report.md says what a reader sees of it, and the keys may change.

    `findings` has, by finding (the main one first), `thresholds` (the model's own: name, text, value), `prevalence`
    (the stated one, as text) and `groups`: by `all` or `kind/name`, the figures of the scans of which the label is
    known. Columns have one number for each threshold of `GRID` and each of the model's own. Figures are in thousandths,
    those that are only drawn in hundred-thousandths, and columns are packed by
    `differences`.

    Without an evaluation, `findings` has of each group the number of its scans, and those at or above each threshold.
    Findings and groups without such a scan are left out.

    Args:
        report: the report.
        cohort: the scans that its figures are of.
    """
    evaluation = report.evaluation
    if evaluation is None or not evaluation.findings:
        findings = {finding: _scores_only(cohort, finding) for finding in main_first(cohort.findings, report.finding)}
    else:
        findings = {
            finding: _finding_data(cohort, finding, evaluation.findings[finding])
            for finding in main_first(evaluation.findings, report.finding)
        }
    return {
        "is_judged": report.main is not None,
        "threshold_origin": threshold_origin(report),
        "findings": {finding: shown for finding, shown in findings.items() if shown["groups"]},
    }


def main_first(findings: Iterable[str], main: str) -> list[str]:
    """The findings in the order of the page: the main one first."""
    return sorted(findings, key=lambda finding: finding != main)


def _scores_only(cohort: Cohort, finding: str) -> dict[str, Any]:
    scores = cohort.scores[:, cohort.findings.index(finding)]
    groups = {}
    for name, mask in _groups(cohort):
        ascending = np.sort(scores[mask])
        flagged = len(ascending) - np.searchsorted(ascending, GRID)
        groups[name] = {"scans": len(ascending), "flagged": differences(flagged.tolist())}
    return {"thresholds": [], "prevalence": None, "groups": groups}


def _finding_data(cohort: Cohort, finding: str, result: FindingEvaluation) -> dict[str, Any]:
    own = [(row.chosen_by, row.rates.threshold) for row in result.thresholds if row.chosen_by != GIVEN]
    stated = next((row.at_prevalence.prevalence for row in result.thresholds if row.at_prevalence is not None), None)
    figures = {ALL_SCANS: result.figures} | {
        _key(kind, name): of_group for kind, names in result.groups.items() for name, of_group in names.items()
    }
    thresholds = [*GRID, *(threshold for _, threshold in own)]
    return {
        "thresholds": [[name_threshold(name), format_threshold(threshold), threshold] for name, threshold in own],
        "prevalence": None if stated is None else f"{stated:g}",
        "groups": {
            name: _group_data(cohort.sample(finding, mask), figures[name], thresholds, stated)
            for name, mask in _groups(cohort)
            if name in figures and figures[name].scans
        },
    }


def _groups(cohort: Cohort) -> Iterator[tuple[str, Mask]]:
    if len(cohort.scores):
        yield ALL_SCANS, np.ones(len(cohort.scores), np.bool_)
    for kind, grouping in cohort.groupings.items():
        for place, name in enumerate(grouping.names):
            mask = grouping.places == place
            if mask.any():
                yield _key(kind, name), mask


def _key(kind: str, name: str) -> str:
    return f"{kind}/{name}"


def _group_data(sample: Sample, figures: Figures, thresholds: list[float], prevalence: float | None) -> dict[str, Any]:
    rates = rates_at(sample, thresholds)
    has_both_classes = sample.positives and sample.negatives
    return {
        "scans": figures.scans,
        "positives": figures.positives,
        "share": thousandths(sample.positives / len(sample.labels)),
        "no_interval": figures.no_interval,
        "figures": {name: _ends(getattr(figures, name)) for name in _FIGURES},
        "tp": differences(row.tp for row in rates),
        "fp": differences(row.fp for row in rates),
        "rates": _rate_columns(sample, rates, prevalence),
        "benefit": differences(hundred_thousandths(row.net_benefit) for row in rates),
        "treat_all": differences(_treat_all(sample)),
        "curve": thin_curve(sample.curve, _CURVE_POINTS) if has_both_classes else None,
        "calibration": _calibration(calibration_curve(sample)),
    }


def _ends(estimate: Estimate) -> Column:
    return [thousandths(end) for end in (estimate.value, estimate.low, estimate.high)]


def _rate_columns(
    sample: Sample, rates: tuple[Rates, ...], prevalence: float | None
) -> Mapping[str, list[PackedColumn]]:
    columns = {name: estimate_columns([getattr(row, name) for row in rates]) for name in _RATES}
    columns["net_benefit"] = [differences(thousandths(row.net_benefit) for row in rates)]
    of_all = (treat_all(sample.positives, sample.negatives, row.threshold) for row in rates)
    columns["net_benefit_treat_all"] = [differences(thousandths(benefit) for benefit in of_all)]
    if prevalence is not None:
        values = [predictive_values(row, prevalence) for row in rates]
        columns["precision_at_prevalence"] = estimate_columns([value.precision for value in values])
        columns["npv_at_prevalence"] = estimate_columns([value.npv for value in values])
    return columns


def _treat_all(sample: Sample) -> Iterator[int | None]:
    """Net benefit at the thresholds of `GRID`, up to the first at which it is too low to be drawn."""
    lowest = _LOWEST_BENEFIT * sample.positives / len(sample.labels)
    for threshold in GRID:
        benefit = treat_all(sample.positives, sample.negatives, threshold)
        if benefit is None:
            return
        yield hundred_thousandths(benefit)
        if benefit < lowest:
            return


def _calibration(points: tuple[CalibrationPoint, ...]) -> list[Column]:
    return [[point.scans, point.positives, hundred_thousandths(point.mean_score)] for point in points]
