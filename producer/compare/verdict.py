"""Which run is better, and the one difference that says so: the first sentence of terminal, page and JSON."""

from db.counted import counted
from db.evaluation.comparison import Difference
from db.evaluation.format import format_rate
from producer.compare.build import ComparedRun, RunComparison
from producer.compare.format import SIGNIFICANT, format_difference, format_p, format_range
from producer.report.sentences import describe_scans


def better(difference: Difference, *, lower_is_better: bool = False) -> str:
    """Which model is better beyond chance: `first` or `second`; empty if that is not shown."""
    value, p_value = difference.difference.value, difference.p_value
    if value is None or p_value is None or p_value >= SIGNIFICANT:
        return ""
    return "second" if (value > 0) != lower_is_better else "first"


def headline(comparison: RunComparison) -> str:
    """The verdict and its figures."""
    return f"{verdict(comparison)}: {figures_line(comparison)}"


def verdict(comparison: RunComparison) -> str:
    """Which run has the higher AUROC for the main finding, or why nobody can tell."""
    auroc, finding = comparison.main.figures["auroc"], comparison.finding
    if not comparison.main.judged_scans:
        return f"Without labels of {finding}, nothing tells which run is better"
    if auroc.p_value is None:
        return f"Which run has the higher AUROC for {finding} cannot be tested"
    if side := better(auroc):
        return f"Run {_name(comparison, side)} has the higher AUROC for {finding}"
    return f"Neither run is shown to have the higher AUROC for {finding}"


def figures_line(comparison: RunComparison) -> str:
    """Both figures, their difference with interval and p, and what they are of: scans, patients, model and labels."""
    if not comparison.main.judged_scans:
        return _describe_scores(comparison)
    auroc = comparison.main.figures["auroc"]
    p_value = "" if auroc.p_value is None else f", p {format_p(auroc.p_value)}"
    parts = (
        f"{_figures(comparison)}; difference {format_difference(auroc.difference)}{p_value}",
        f"on {_describe_used(comparison)}",
        *([f"model {comparison.first.model}"] if _is_one_model(comparison) else []),
        _describe_labels(comparison.first, comparison.second),
    )
    return ", ".join(parts)


def _figures(comparison: RunComparison) -> str:
    """The AUROC of either run, that of the better one first; else the second's, that differences are of."""
    auroc = comparison.main.figures["auroc"]
    values = {"first": format_rate(auroc.first.value), "second": format_rate(auroc.second.value)}
    side = better(auroc)
    ahead, behind = ("first", "second") if side == "first" else ("second", "first")
    start = values[ahead] if side else f"run {_name(comparison, ahead)} has {values[ahead]}"
    return f"{start}, run {_name(comparison, behind)} has {values[behind]}"


def _name(comparison: RunComparison, side: str) -> str:
    """`7 (convnext)`; of two runs of one model the number alone, of two models of one name also the hash."""
    runs = {"first": comparison.first, "second": comparison.second}
    run = runs[side]
    if _is_one_model(comparison):
        return str(run.run_id)
    is_name_of_both = comparison.first.model == comparison.second.model
    return f"{run.run_id} ({run.model}{f' {run.model_hash}' if is_name_of_both else ''})"


def _is_one_model(comparison: RunComparison) -> bool:
    return comparison.first.model_sha256 == comparison.second.model_sha256


def _describe_scores(comparison: RunComparison) -> str:
    agreement = comparison.main.agreement
    return (
        f"scores for {comparison.finding} differ by {format_difference(agreement.mean_difference)} on average, limits "
        f"of agreement {format_range(agreement.low, agreement.high)}, rank correlation "
        f"{format_rate(agreement.rank_correlation)}, on {_describe_scans(comparison)}"
    )


def _describe_used(comparison: RunComparison) -> str:
    judged, scans = comparison.main.judged_scans, _describe_scans(comparison)
    return scans if judged == comparison.used else f"{judged:,} labelled ones of {scans}"


def _describe_scans(comparison: RunComparison) -> str:
    """The compared scans and their patients. A scan without a patient id may be of a patient that is counted."""
    runs = (comparison.first, comparison.second)
    # Of two models, the longer words have a reservation that the other's have not.
    in_words = [describe_scans(comparison.subset, run.patients) for run in runs]
    scans = f"{comparison.used:,} {max(in_words, key=len)}"
    if comparison.clusters != "clustered by patient":
        return scans
    return scans.replace("scans", f"scans of {counted(comparison.patients, 'patient')}", 1)


def _describe_labels(first: ComparedRun, second: ComparedRun) -> str:
    """The label sets that judge both runs."""
    if first.label_set == second.label_set:
        return "no label set" if first.label_set is None else f"label set {first.label_set}"
    return f"label set {first.label_set} for run {first.run_id} and {second.label_set} for run {second.run_id}"
