"""The warnings above the page's figures, and the names of baselines."""

from typing import Final

from db.drift.sentences import ALARM, describe_shift
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import Report
from producer.report.sentences import heading_notes, interval_note

#: What a baseline does, by its name.
BASELINES: Final = {
    "always_positive": "calls every scan positive",
    "majority": "calls every scan what most scans are",
    "view_only": "sees the view alone",
    "metadata_only": "sees view, sex and age alone",
}


def warnings(report: Report) -> list[str]:
    """What a reader must know before any other figure, a sentence each."""
    notes = heading_notes(report)
    if report.night is not None and report.night.is_alarm and report.night.largest is not None:
        # What it was compared with, and what to do, stand where the nights do.
        notes.insert(0, f"{ALARM}: {describe_shift(report.night.largest, name_manufacturer=True)}.")
    if report.is_partial:
        counts = f"{report.coverage.pending:,} of {report.coverage.expected:,} scans are pending"
        notes.insert(0, f"PARTIAL. The run is not finished: {counts}, and every figure here may change.")
    if report.evaluation is not None and not report.coverage.used:
        notes.append("No scan is left to judge the model by.")
    if report.subset != HELD_OUT and report.coverage.seen_itself + report.coverage.seen_patient:
        notes.append("The model was fitted or tuned on some of these scans, which makes its figures too good.")
    note = interval_note(report)
    return [*notes, note] if note is not None and not _has_clustered_intervals(report) else notes


def quiet_interval_note(report: Report) -> str | None:
    """What the intervals are clustered by, where that is no warning."""
    return interval_note(report) if _has_clustered_intervals(report) else None


def _has_clustered_intervals(report: Report) -> bool:
    if report.evaluation is None or report.main is None:
        return False
    return report.evaluation.patients > 0 and report.main.figures.no_interval is None
