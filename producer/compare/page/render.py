"""Puts the page of a comparison together: one file without a script, which asks for nothing else."""

from pathlib import Path
from typing import Final

from markupsafe import Markup

from db.counted import counted
from db.evaluation.estimate import Estimate
from db.evaluation.run_pair import RunPair
from producer.compare.build import RunComparison
from producer.compare.format import format_difference, format_p, format_range
from producer.compare.page.figures import better, figures_of, forest_scale
from producer.compare.sentences import FIGURES, direction_note, headline, interval_note, multiplicity_note, warnings
from producer.report.page.data import main_first

_FOLDER: Final = Path(__file__).parent


def render_comparison(comparison: RunComparison, pair: RunPair) -> str:
    """A comparison of two runs as an HTML page.

    Text from data (names of datasets, models, label sets and findings) is escaped.

    Args:
        comparison: what `build_comparison` gives.
        pair: the scans that its figures are of.
    """
    # Importing Jinja takes a while, which a comparison that cannot be built need not wait for.
    from producer.report.page.environment import fill_template

    names = main_first(comparison.findings, comparison.finding)
    findings = [figures_of(name, comparison.findings[name], pair) for name in names]
    judged = [finding for finding in findings if finding.compared.judged_scans]
    return fill_template(
        "compare.html.j2",
        folder=_FOLDER,
        comparison=comparison,
        findings=findings,
        judged=judged,
        sides=[better(finding.compared.figures["auroc"]) for finding in judged],
        headline=headline(comparison),
        warnings=warnings(comparison),
        direction_note=direction_note(comparison),
        interval_note=interval_note(comparison),
        multiplicity_note=multiplicity_note(comparison),
        titles={name: title[0].upper() + title[1:] for name, title in FIGURES.items()},
        forest=forest_scale(finding.compared.figures["auroc"] for finding in judged),
        better=better,
        counted=counted,
        change=format_difference,
        difference=_difference,
        p=format_p,
        range=format_range,
    )


def _difference(estimate: Estimate) -> Markup:
    """As `format_difference` has it; a line may break before the interval, and not within it."""
    value, space, interval = format_difference(estimate).partition(" ")
    return Markup("{}{}<span>{}</span>").format(value, space, interval)
