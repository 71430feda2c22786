"""Puts the page together: one file with its data, style and script, which asks for nothing else."""

from importlib.resources import files
from typing import Final

from markupsafe import Markup

from db.evaluation.cohort import Cohort
from db.evaluation.estimate import Estimate
from db.evaluation.format import UNDEFINED, format_estimate, format_rate, format_threshold, name_threshold
from producer.report.build import Report
from producer.report.page.data import main_first, page_data
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

_TEMPLATE: Final = "page.html.j2"
#: In this order: the last one starts the page.
_SCRIPTS: Final = ("svg.js", "plots.js", "page.js")


def render_page(report: Report, cohort: Cohort) -> str:
    """A run's report as an HTML page.

    Text from data (names of datasets, models, manufacturers and images) is escaped, in markup and in the data alike.

    Args:
        report: the report.
        cohort: the scans that its figures are of.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # `tojson` escapes <, >, & and ', so that no text ends the script that holds it.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {
        "estimate": _estimate,
        "rate": format_rate,
        "threshold": format_threshold,
        "threshold_name": name_threshold,
        "count": "{:,}".format,
    }
    return environment.from_string(_read(_TEMPLATE)).render(
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
        undefined=UNDEFINED,
        data=page_data(report, cohort),
        # The package's own files, in which nothing is to be escaped.
        style=Markup(_read("page.css")),  # noqa: S704
        script=Markup("\n".join(map(_read, _SCRIPTS))),  # noqa: S704
    )


def _estimate(estimate: Estimate) -> Markup:
    """As `format_estimate` has it; a line may break before the interval, and not within it."""
    value, space, interval = format_estimate(estimate).partition(" ")
    return Markup("{}{}<span>{}</span>").format(value, space, interval)


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
