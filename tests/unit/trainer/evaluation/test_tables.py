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


def test_a_threshold_that_the_publisher_states_is_not_called_chosen(evaluation, printed):
    """An imported model's; nobody knows which scans it was chosen on."""
    abnormal = evaluation.findings["Abnormal"]
    stated = [replace(at, chosen_by="published") if at.chosen_by == "best_f1" else at for at in abnormal.thresholds]
    text = printed(replace(evaluation, findings={"Abnormal": replace(abnormal, thresholds=tuple(stated))}))
    assert "stated by the model's publisher: 0.375 (published)\n" in text
    assert "validation" not in text


def test_what_has_no_interval_says_why(scored, printed):
    """Findings and groups with too few scans of a class."""
    rows = [replace(row, view="LATERAL") if number < 3 else row for number, row in enumerate(scored.rows)]
    evaluation = scored.evaluate(rows=rows)
    lines = printed(evaluation).splitlines()
    assert f"Hernia: {evaluation.findings['Hernia'].figures.no_interval}" in lines
    lateral = evaluation.findings["Abnormal"].groups["view"]["LATERAL"]
    assert f"view LATERAL: {lateral.no_interval}" in lines
    assert not [line for line in lines if line.startswith(("Abnormal: no interval", "view PA: no interval"))]


def test_a_group_may_have_any_name(evaluation, printed):
    """A manufacturer writes it, so it is neither markup nor a control sequence."""
    abnormal = evaluation.findings["Abnormal"]
    groups = {"manufacturer": {"[/red]\x1b[2JX": abnormal.figures}}
    text = printed(replace(evaluation, findings={"Abnormal": replace(abnormal, groups=groups)}))
    assert "[/red]" in text and "\x1b" not in text


def test_tables_are_at_most_80_columns_wide(evaluation, printed):
    """With long names, large counts, unknown labels and large ratios; no figure is cut."""
    ratio, auroc = Estimate(value=12.345, low=10.123, high=15.123), Estimate(value=0.777, low=0.666, high=0.888)

    abnormal = evaluation.findings["Abnormal"]
    figures = replace(abnormal.figures, scans=112_000, positives=12_345)
    group = replace(figures, scans=12_345, positives=1_234, auroc=auroc, observed_over_expected=ratio)
    result = replace(
        abnormal,
        figures=figures,
        groups={"manufacturer": {"A Maker of Detectors GmbH & Co. KG": group}},
        baselines={"always_positive": abnormal.baselines["always_positive"]},
    )
    names = ("Enlarged Cardiomediastinum", "Pleural_Thickening")
    text = printed(replace(evaluation, scans=112_120, findings=dict.fromkeys(names, result)))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert all(number in text for number in ("112,000", "12.345", "(10.123", "15.123)", "Cardiomediastinum"))
    assert all(format_estimate(figure) in text for figure in (auroc, result.figures.average_precision))


def test_an_interval_that_holds_a_half_says_that_the_model_guesses(scored, printed):
    """Findings that are told apart, and those without an interval, are not named."""
    random = scored.scores.copy()
    random[:, 0] = np.arange(300) / 300
    sentence = "Abnormal: not shown to be better than guessing on these scans (the interval of AUROC holds 0.5)"
    assert sentence in printed(scored.evaluate(scores=random)).splitlines()
    assert "guessing" not in printed(scored.evaluate())


def test_without_groups_there_is_no_table_of_them(scored, printed):
    """A CSV may say nothing of view, sex and age."""
    bare = [replace(row, view=None, sex=None, age_years=None) for row in scored.rows]
    assert "by group" not in printed(scored.evaluate(rows=bare, manufacturers={}))
    assert "by group" in printed(scored.evaluate())
