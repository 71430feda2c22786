"""What `trainer fit` and `trainer evaluate` print of an evaluation."""

from dataclasses import replace

import numpy as np
import pytest

from db.evaluation.estimate import Estimate
from db.evaluation.format import format_estimate
from trainer.evaluation.tables import print_tables


@pytest.fixture
def printed(capsys):
    def printed(evaluation):
        print_tables(evaluation)
        return capsys.readouterr().out

    return printed


def test_every_figure_of_the_main_finding_is_printed_with_its_interval(evaluation, printed):
    """Figures without a threshold, those at each threshold, and the AUROC of groups and baselines."""
    text, abnormal = printed(evaluation), evaluation.findings["Abnormal"]
    figures, rates = abnormal.figures, [one.rates for one in abnormal.thresholds]
    shown = [
        *(figures.auroc, figures.average_precision, figures.brier),
        *(figures.calibration_slope, figures.calibration_intercept, figures.observed_over_expected),
        *(figure for one in rates for figure in (one.precision, one.recall, one.specificity, one.f1, one.accuracy)),
        *(group.auroc for of_kind in abnormal.groups.values() for group in of_kind.values()),
        *(baseline.auroc for baseline in abnormal.baselines.values()),
        evaluation.findings["Effusion"].figures.auroc,
        evaluation.mean_auroc,
    ]
    assert [format_estimate(figure) for figure in shown if format_estimate(figure) not in text] == []
    assert "300 scans of 100 patients\n95% intervals, clustered by patient\n" in text
    assert "chosen on the model's validation scans: 0.375 (best F1)\n" in text


def test_what_has_no_interval_says_why(evaluation, printed):
    """Findings and groups with too few scans of a class."""
    lines = printed(evaluation).splitlines()
    missing = evaluation.findings["Hernia"].figures.no_interval
    assert f"Hernia: {missing}" in lines
    groups = evaluation.findings["Abnormal"].groups
    without = {f"{kind} {name}": one.no_interval for kind, many in groups.items() for name, one in many.items()}
    assert [f"{name}: {why}" in lines for name, why in without.items()] == [bool(why) for why in without.values()]


def test_tables_are_at_most_80_columns_wide(evaluation, printed):
    """With long names, large counts, unknown labels and large ratios; no figure is cut."""
    ratio = Estimate(value=12.345, low=10.123, high=15.123)

    def widen(figures):
        return replace(figures, scans=112_000, positives=12_345, observed_over_expected=ratio)

    abnormal = evaluation.findings["Abnormal"]
    result = replace(
        abnormal,
        figures=widen(abnormal.figures),
        groups={"manufacturer": {"A Maker of Detectors GmbH & Co. KG": widen(abnormal.figures)}},
        baselines={"always_positive": abnormal.baselines["always_positive"]},
    )
    names = ("Enlarged Cardiomediastinum", "Pleural_Thickening")
    text = printed(replace(evaluation, scans=112_120, findings=dict.fromkeys(names, result)))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert all(number in text for number in ("112,000", "12.345", "(10.123", "15.123)", "Cardiomediastinum"))


def test_an_interval_that_holds_a_half_says_that_the_model_guesses(scored, printed):
    """Findings that are told apart, and those without an interval, are not named."""
    random = scored.scores.copy()
    random[:, 0] = np.arange(300) / 300
    sentence = "Abnormal: no better than guessing on these scans (the interval of AUROC holds 0.5)"
    assert sentence in printed(scored.evaluate(scores=random)).splitlines()
    assert "guessing" not in printed(scored.evaluate())
