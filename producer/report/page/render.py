"""Puts the page together: one file with its data, style and script, which asks for nothing else."""

from db.evaluation.cohort import Cohort
from producer.report.build import Report
from producer.report.page.data import main_first, page_data
from producer.report.page.nights import drift_view
from producer.report.page.words import BASELINES, quiet_interval_note, warnings
from producer.report.sentences import (
    coverage_lines,
    headline,
    left_out_line,
    next_steps,
    own_threshold_note,
    spread_line,
    threshold_origin,
    views_line,
)


def render_page(report: Report, cohort: Cohort) -> str:
    """A run's report as an HTML page.

    Text from data (names of datasets, models, manufacturers and images) is escaped, in markup and in the data alike.

    Args:
        report: the report.
        cohort: the scans that its figures are of.
    """
    # Importing Jinja takes a while, which a report that cannot be built need not wait for.
    from producer.report.page.environment import fill_template

    return fill_template(
        "page.html.j2",
        report=report,
        findings=main_first(report.evaluation.findings if report.evaluation else (), report.finding),
        headline=headline(report),
        warnings=warnings(report),
        interval_note=quiet_interval_note(report),
        own_threshold_note=own_threshold_note(report),
        threshold_origin=threshold_origin(report),
        next_steps=next_steps(report),
        views=views_line(report),
        spread=spread_line(report),
        coverage=coverage_lines(report),
        left_out=left_out_line(report),
        baselines=BASELINES,
        drift=drift_view(report.nights),
        data=page_data(report, cohort),
    )
