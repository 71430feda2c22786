"""Draws a report's plots as PNG files. A plot that would be empty is not drawn."""

from io import BytesIO
from textwrap import fill
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from db.metrics.formulas import Labels, ScoreArray, confusion_matrix_at, has_both_classes, roc_curve
from db.metrics.scored_scans import ScoredScans
from producer.report.build import Report
from producer.report.table import format_rate, scope_line

#: File name and alternative text of every plot.
PLOTS: Final = {
    "roc.png": "ROC curve: true positive rate over false positive rate",
    "precision_recall.png": "Precision-recall curve: precision over recall",
    "scores.png": "Distribution of scores",
    "thresholds.png": "Precision, recall, F1 and accuracy over the threshold",
    "findings.png": "ROC curves of the other findings",
}
# Okabe and Ito's palette: colour-blind readers can tell its colours apart, too.
_BLUE, _ORANGE, _GREEN, _PINK, _GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8a8a8a"
_GRID_COLUMNS: Final = 5
_DPI: Final = 144
#: Steps per axis when a curve is thinned: more than a plot has pixels. With 100,000 points matplotlib takes 50 MB.
_THINNING_STEPS: Final = 2000
#: Of the caption, which is wrapped here: matplotlib's own wrapping would parse names as mathematics.
_CHARACTERS_PER_INCH: Final = 18


def draw_plots(report: Report, used: ScoredScans) -> dict[str, bytes]:
    """Draw the plots of the scans that the report's metrics are of; gives PNG bytes by file name."""
    labels, scores = used.labels_and_scores(report.finding)
    figures: dict[str, Figure] = {}
    if len(scores):
        figures["scores.png"] = _draw_scores(("label negative", scores[~labels]), ("label positive", scores[labels]))
    elif len(used.scores):
        figures["scores.png"] = _draw_scores(("scans", used.scores_of(report.finding)))
    if report.label_set is not None and has_both_classes(labels):
        figures["roc.png"] = _draw_roc(labels, scores, report)
        figures["precision_recall.png"] = _draw_precision_recall(labels, scores, report)
        figures["thresholds.png"] = _draw_thresholds(labels, scores)
        others = [
            name
            for name in used.findings
            if name != report.finding and has_both_classes(used.labels_and_scores(name)[0])
        ]
        if others:
            figures["findings.png"] = _draw_findings(used, others, report)
    return {
        name: _to_png(figure, report, "Other findings with their AUROC" if name == "findings.png" else report.finding)
        for name, figure in figures.items()
    }


def _draw_roc(labels: Labels, scores: ScoreArray, report: Report) -> Figure:
    figure, axes = _square_axes("False positive rate (1 - specificity)", "True positive rate (recall)")
    _plot_roc(axes, labels, scores)
    axes.text(0.97, 0.05, f"AUROC {format_rate(_auroc_of(report, report.finding))}", ha="right", fontsize=12)
    return figure


def _draw_precision_recall(labels: Labels, scores: ScoreArray, report: Report) -> Figure:
    ranked = roc_curve(labels, scores)
    recall, precision = _prepend(0, ranked.tp / ranked.positives), _prepend(1, ranked.tp / (ranked.tp + ranked.fp))
    figure, axes = _square_axes("Recall", "Precision")
    prevalence = float(labels.mean())
    axes.axhline(prevalence, color=_GREY, linestyle=":", linewidth=1.2)
    axes.text(0.99, prevalence - 0.02, f"always positive: {prevalence:.3f}", ha="right", va="top", color="#555555")
    axes.plot(*thin_curve(recall, precision), color=_BLUE, linewidth=2, drawstyle="steps-pre")
    row = next((row for row in report.findings if row.finding == report.finding), None)
    axes.text(0.03, 0.05, f"Average precision {format_rate(row.average_precision if row else None)}", fontsize=12)
    return figure


def _draw_scores(*groups: tuple[str, ScoreArray]) -> Figure:
    figure, axes = _new_axes("Score", "Scans")
    for (name, scores), color in zip(groups, (_BLUE, _ORANGE), strict=False):
        bins = np.linspace(0, 1, 51).tolist()
        axes.hist(scores, bins, histtype="stepfilled", alpha=0.35, color=color)
        axes.hist(scores, bins, histtype="step", color=color, label=f"{name} ({len(scores):,})")
    axes.set_xlim(0, 1)
    # There is no half scan.
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(axes)
    return figure


def _draw_thresholds(labels: Labels, scores: ScoreArray) -> Figure:
    figure, axes = _new_axes("Threshold", "Rate")
    grid = np.linspace(0, 1, 201)
    counts = [confusion_matrix_at(labels, scores, threshold) for threshold in grid.tolist()]
    lines: dict[str, tuple[str, list[float | None]]] = {
        "precision": (_BLUE, [one.precision for one in counts]),
        "recall": (_ORANGE, [one.recall for one in counts]),
        "F1": (_GREEN, [one.f1 for one in counts]),
        "accuracy": (_PINK, [one.accuracy for one in counts]),
    }
    for name, (color, values) in lines.items():
        # None becomes NaN, so a line has a gap where its rate is undefined.
        axes.plot(grid, np.array(values, np.float64), color=color, linewidth=2, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _add_legend(axes)
    return figure


def _draw_findings(used: ScoredScans, names: list[str], report: Report) -> Figure:
    """Draw small multiples: one ROC curve for each finding."""
    rows = -(-len(names) // _GRID_COLUMNS)
    figure = Figure(figsize=(10, 2.25 * rows + 0.5), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, _GRID_COLUMNS, place)
        labels, scores = used.labels_and_scores(name)
        _plot_roc(axes, labels, scores)
        axes.set(aspect="equal", xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 1), yticks=(0, 1))
        axes.set_title(f"{name.replace('_', ' ')}  {format_rate(_auroc_of(report, name))}", fontsize=9)
        axes.text(0.97, 0.05, f"{int(labels.sum()):,} positive", ha="right", fontsize=8, color="#555555")
        _style_axes(axes)
    return figure


def _plot_roc(axes: Axes, labels: Labels, scores: ScoreArray) -> None:
    ranked = roc_curve(labels, scores)
    axes.plot((0, 1), (0, 1), color=_GREY, linestyle=":", linewidth=1.2)
    curve = _prepend(0, ranked.fp / ranked.negatives), _prepend(0, ranked.tp / ranked.positives)
    axes.plot(*thin_curve(*curve), color=_BLUE, linewidth=2)


def thin_curve(x: ScoreArray, y: ScoreArray) -> tuple[ScoreArray, ScoreArray]:
    """Drop the points of a curve, x and y (N,) in [0, 1], that would be drawn in the same place as the one before."""
    places = np.rint(np.stack((x, y)) * _THINNING_STEPS)
    kept = np.append(True, (places[:, 1:] != places[:, :-1]).any(axis=0))
    kept[-1] = True
    return x[kept], y[kept]


def _prepend(start: float, rates: ScoreArray) -> ScoreArray:
    """Add the point at which nothing is predicted positive yet."""
    return np.concatenate(([start], rates))


def _auroc_of(report: Report, finding: str) -> float | None:
    return next((row.auroc for row in report.findings if row.finding == finding), None)


def _square_axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure, axes = _new_axes(x, y, size=(5, 5))
    axes.set(aspect="equal", xlim=(0, 1), ylim=(0, 1.02))
    return figure, axes


def _new_axes(x: str, y: str, size: tuple[float, float] = (7, 4)) -> tuple[Figure, Axes]:
    # Without pyplot there is no global state and no display; Agg is the backend.
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    _style_axes(axes)
    return figure, axes


def _style_axes(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _add_legend(axes: Axes) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)


def _to_png(figure: Figure, report: Report, finding: str) -> bytes:
    """Render a plot, with a caption that says what it shows: people copy plots out of the report."""
    partial = "PARTIAL · " if report.is_partial else ""
    caption = f"{partial}run {report.run_id} · {report.model} ({report.model_hash}) · {scope_line(report, finding)}"
    # A name with dollar signs is not mathematics.
    lines = fill(caption, int(figure.get_figwidth() * _CHARACTERS_PER_INCH))
    figure.supxlabel(lines, fontsize=7, color="#555555", parse_math=False)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=_DPI)
    return out.getvalue()
