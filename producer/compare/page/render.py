"""Puts the page of a comparison together: one file without a script, which asks for nothing else."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from db.counted import counted
from db.evaluation.estimate import Estimate
from db.evaluation.run_pair import RunPair
from producer.compare.build import RunComparison
from producer.compare.format import format_difference, format_p, format_range
from producer.compare.page.figures import FindingFigures, figures_of, forest_scale, is_cut
from producer.compare.sentences import (
    FIGURES,
    bare_note,
    describe_thresholds,
    direction_note,
    interval_note,
    label_titles,
    labels_note,
    multiplicity_note,
    threshold_note,
    warnings,
)
from producer.compare.verdict import better, figures_line, verdict
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
    from producer.report.page.environment import fill_template, keep_interval

    names = main_first(comparison.findings, comparison.finding)
    findings = [figures_of(name, comparison.findings[name], pair) for name in names]
    judged = [finding for finding in findings if finding.compared.judged_scans]
    forest = forest_scale(finding.compared.figures["auroc"] for finding in judged)
    return fill_template(
        "compare.html.j2",
        folder=_FOLDER,
        comparison=comparison,
        findings=findings,
        judged=judged,
        sides=[better(finding.compared.figures["auroc"]) for finding in judged],
        verdict=verdict(comparison),
        figures_line=figures_line(comparison),
        warnings=warnings(comparison),
        direction_note=direction_note(comparison),
        interval_note=interval_note(comparison),
        bare_note=bare_note(_shown(findings)),
        threshold_note=threshold_note(finding.compared for finding in judged),
        labels_note=labels_note(comparison),
        multiplicity_note=multiplicity_note(comparison),
        titles={name: title[0].upper() + title[1:] for name, title in FIGURES.items()},
        forest=forest,
        is_cut=is_cut,
        better=better,
        label_titles=label_titles,
        thresholds=describe_thresholds,
        counted=counted,
        change=format_difference,
        difference=lambda figure: keep_interval(format_difference(figure)),
        p=format_p,
        range=format_range,
    )


def _shown(findings: Iterable[FindingFigures]) -> Iterator[Estimate]:
    """The differences of the page."""
    for finding in findings:
        yield finding.compared.agreement.mean_difference
        yield from (figure.difference for figure in finding.compared.figures.values())
