"""The words of the page that are not in its template: the headline, the warnings, and names of baselines and groups."""

from typing import Final

from db.evaluation.evaluate import Figures
from db.evaluation.sentences import NO_BETTER_THAN_GUESSING, guessed_findings
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import Report
from producer.report.format import format_estimate
from producer.report.table import describe_subset, heading_notes

#: What predicts, by the baseline's name; others are shown by their own.
BASELINES: Final = {
    "always_positive": "calls every scan positive",
    "majority": "calls every scan what most scans are",
    "view_only": "sees the view alone",
    "metadata_only": "sees view, sex and age alone",
}


def headline(report: Report) -> str:
    """The one figure and what it is a figure of; without labels, what was scored."""
    if report.main is None:
        return f"{report.coverage.scored:,} of {report.coverage.expected:,} scans scored, and no label to judge them by"
    figures = report.main.figures
    return f"AUROC {format_estimate(figures.auroc)} for {report.finding} on {_describe_scans(report, figures)}"


def _describe_scans(report: Report, figures: Figures) -> str:
    """`433 held-out scans of 210 patients`; patients are named only if all of them are known."""
    scans = f"{figures.scans:,} {describe_subset(report)}"
    if report.evaluation is None or report.evaluation.scans_without_patient:
        return scans
    return f"{scans}{'' if report.subset == HELD_OUT else ','} of {figures.patients:,} patients"


def warnings(report: Report) -> list[str]:
    """What a reader must know before any figure, a sentence each."""
    notes = heading_notes(report)
    if report.is_partial:
        notes.insert(
            0,
            f"PARTIAL. The run is not finished: {report.coverage.pending:,} of {report.coverage.expected:,} scans are "
            "pending, and every figure here may change.",
        )
    if report.evaluation is not None and not report.coverage.used:
        notes.append("No scan is left to judge the model by.")
    if report.subset != HELD_OUT:
        notes.append("The model was fitted or tuned on some of these scans, which makes its figures too good.")
    return notes + _warnings_of_intervals(report)


def _warnings_of_intervals(report: Report) -> list[str]:
    if report.evaluation is None or report.main is None:
        return []
    notes = []
    if not report.evaluation.patients:
        notes.append(f"Intervals are {report.clusters}.")
    if report.main.figures.no_interval:
        notes.append(f"{report.finding} has {report.main.figures.no_interval}.")
    if report.finding in guessed_findings(report.evaluation):
        notes.append(f"{report.finding} is {NO_BETTER_THAN_GUESSING}.")
    return notes
