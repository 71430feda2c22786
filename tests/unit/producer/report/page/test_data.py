"""What the page looks up is what the evaluation gives, at every threshold, of every finding and group."""

import json
from dataclasses import replace

import numpy as np
import pytest

from db.evaluation.calibration import calibration_curve
from db.evaluation.cohort import Cohort, group_by
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import figures_of
from db.evaluation.format import format_estimate
from db.evaluation.rates import predictive_values, rates_at, treat_all
from db.findings import FINDINGS
from producer.report.page.columns import thousandths
from producer.report.page.data import page_data
from tests.support.reports import OWN_THRESHOLDS, a_cohort, a_report, an_unlabelled_report

GRID = [hundredth / 100 for hundredth in range(101)]
RATES = ("precision", "recall", "specificity", "npv", "f1", "accuracy", "balanced_accuracy")


def numbers(column):
    """A column as the page reads it: pairs are a difference and its times, and differences are added up."""
    steps = [step for packed in column for step in ([packed[0]] * packed[1] if isinstance(packed, list) else [packed])]
    total, read = 0, []
    for step in steps:
        total += step or 0
        read.append(None if step is None else total)
    return read


def shown(columns, place):
    """A rate as the page writes it."""
    value, *reach = [numbers(column)[place] for column in columns]
    below, above = reach if None not in (value, *reach) else (None, None)
    ends = (value, None if below is None else value - below, None if above is None else value + above)
    return written(*ends)


def written(value, low, high):
    """The same from thousandths."""
    ends = (None if end is None else end / 1000 for end in (value, low, high))
    return format_estimate(Estimate(**dict(zip(("value", "low", "high"), ends, strict=True))))


def masks(cohort):
    yield "all", None
    for kind, grouping in cohort.groupings.items():
        for place, name in enumerate(grouping.names):
            yield f"{kind}/{name}", grouping.places == place


def on_thresholds(cohort):
    """The same scans, with half of the scores on a hundredth: a score that equals a threshold reaches it."""
    scores = cohort.scores.copy()
    scores[::2] = scores[::2].round(2)
    return replace(cohort, scores=scores)


def test_counts_and_rates_are_those_of_the_evaluation_at_every_threshold_finding_and_group():
    """At the hundredths and at the model's own thresholds, which follow them; rounded as everywhere."""
    cohort = on_thresholds(a_cohort(scans=40))
    data = page_data(a_report(cohort), cohort)
    for finding in cohort.findings:
        own = list(OWN_THRESHOLDS.get(finding, {}).values())
        groups = data["findings"][finding]["groups"]
        assert list(groups) == [name for name, _ in masks(cohort)]
        for name, mask in masks(cohort):
            group, sample = groups[name], cohort.sample(finding, mask)
            rates = rates_at(sample, [*GRID, *own])
            assert numbers(group["tp"]) == [at.tp for at in rates]
            assert numbers(group["fp"]) == [at.fp for at in rates]
            assert numbers(group["benefit"])[30] == round(100_000 * rates[30].net_benefit)
            for threshold, drawn in zip(GRID, numbers(group["treat_all"]), strict=False):
                assert drawn == round(100_000 * treat_all(sample.positives, sample.negatives, threshold))
            for place, at in enumerate(rates):
                for rate in RATES:
                    assert shown(group["rates"][rate], place) == format_estimate(getattr(at, rate)), (
                        finding,
                        name,
                        rate,
                        place,
                    )
                assert thousandths(at.net_benefit) == numbers(group["rates"]["net_benefit"][0])[place]


def test_figures_and_calibration_are_those_of_the_evaluation():
    """Of every group, with its scans, its positives, and why it has no interval."""
    cohort = a_cohort()
    data = page_data(a_report(cohort), cohort)
    reasons = set()
    for finding in cohort.findings:
        for name, mask in masks(cohort):
            sample, group = cohort.sample(finding, mask), data["findings"][finding]["groups"][name]
            figures = figures_of(sample)
            for figure, ends in group["figures"].items():
                assert written(*ends) == format_estimate(getattr(figures, figure))
            assert (group["scans"], group["positives"]) == (figures.scans, figures.positives)
            assert group["no_interval"] == figures.no_interval
            reasons.add(figures.no_interval)
            points = [(point.scans, point.positives) for point in calibration_curve(sample)]
            assert [tuple(point[:2]) for point in group["calibration"]] == points
    assert len(reasons) > 1


def test_values_at_a_stated_prevalence_are_those_of_the_evaluation():
    """Of the finding that has one, and of no other."""
    cohort = a_cohort()
    findings = page_data(a_report(cohort, prevalence={"Abnormal": 0.05}), cohort)["findings"]
    assert (findings["Abnormal"]["prevalence"], findings["Effusion"]["prevalence"]) == ("0.05", None)
    columns = findings["Abnormal"]["groups"]["all"]["rates"]
    assert "precision_at_prevalence" not in findings["Effusion"]["groups"]["all"]["rates"]
    for place, at in enumerate(rates_at(cohort.sample("Abnormal"), GRID)):
        values = predictive_values(at, 0.05)
        assert shown(columns["precision_at_prevalence"], place) == format_estimate(values.precision)
        assert shown(columns["npv_at_prevalence"], place) == format_estimate(values.npv)


def test_the_main_finding_comes_first_with_the_models_own_thresholds_by_name():
    """Text is short, the value exact."""
    cohort = a_cohort()
    findings = page_data(a_report(cohort, finding="Effusion"), cohort)["findings"]
    assert list(findings) == ["Effusion", "Abnormal"]
    named = [["best F1", "0.3021", 0.3021], ["sensitivity 90", "0.99991", 0.99991]]
    assert findings["Abnormal"]["thresholds"] == named
    assert findings["Effusion"]["thresholds"] == []


def test_a_group_of_one_class_has_counts_and_no_curve():
    """Its areas are undefined. A group of which no label is known is left out."""
    cohort = a_cohort()
    is_ap = cohort.groupings["view"].places == 1
    labels, known = cohort.labels.copy(), cohort.known.copy()
    labels[is_ap, 0], known[is_ap, 1] = False, False
    cohort = replace(cohort, labels=labels & known, known=known)
    findings = page_data(a_report(cohort), cohort)["findings"]
    group = findings["Abnormal"]["groups"]["view/AP"]
    assert (group["curve"], group["figures"]["auroc"], group["positives"]) == (None, [None] * 3, 0)
    assert numbers(group["fp"])[0] == group["scans"]
    assert "view/AP" not in findings["Effusion"]["groups"]


def test_a_finding_of_which_no_label_is_known_is_left_out():
    """Though the label set covers it."""
    cohort = a_cohort()
    known = cohort.known & [True, False]
    cohort = replace(cohort, labels=cohort.labels & known, known=known)
    assert list(page_data(a_report(cohort), cohort)["findings"]) == ["Abnormal"]


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_thinned_curve_has_exact_points_near_to_all_others(share):
    """Its points are of the whole curve. No pixel of a plot of 300 tells the areas below both curves apart."""
    rng = np.random.default_rng(1)
    labels = rng.random(20_000) < share
    cohort = a_one_group_cohort(labels, rng.normal(labels * 1.5, 1))
    curve, groups = (
        cohort.sample("Abnormal").curve,
        page_data(a_report(cohort), cohort)["findings"]["Abnormal"]["groups"],
    )
    tp, fp = map(np.array, map(numbers, groups["all"]["curve"]))
    assert len(tp) <= 200
    assert {*zip(tp.tolist(), fp.tolist(), strict=True)} <= {*zip(curve.tp.tolist(), curve.fp.tolist(), strict=True)}
    assert (tp[-1], fp[-1]) == (curve.positives, curve.negatives)
    area = np.trapezoid([0, *tp], [0, *fp]) / (curve.positives * curve.negatives)
    assert area == pytest.approx(curve.auroc, abs=1e-3)
    precision = np.sum(np.diff(tp, prepend=0) * tp / (tp + fp)) / curve.positives
    assert precision == pytest.approx(curve.average_precision, abs=1 / 300)


def a_one_group_cohort(labels, logits):
    return Cohort(
        findings=("Abnormal",),
        scores=1 / (1 + np.exp(-logits))[:, None],
        labels=labels[:, None],
        known=np.ones((len(labels), 1), np.bool_),
        patients=np.arange(len(labels)),
        has_patient=np.ones(len(labels), np.bool_),
        groupings={"sex": group_by(["F"] * len(labels))},
    )


def test_without_labels_the_data_count_the_scans_at_or_above_each_threshold():
    """Of every finding and group, and nothing that needs a label."""
    cohort = on_thresholds(a_cohort())
    data = page_data(an_unlabelled_report(), cohort)
    assert not data["is_judged"]
    for column, finding in enumerate(cohort.findings):
        for name, mask in masks(cohort):
            scores = cohort.scores[:, column] if mask is None else cohort.scores[mask, column]
            group = data["findings"][finding]["groups"][name]
            assert group["scans"] == len(scores)
            assert numbers(group["flagged"]) == [int((scores >= threshold).sum()) for threshold in GRID]


def test_the_data_of_every_finding_and_seventeen_groups_stay_below_two_megabytes():
    """As many thresholds change the counts as can: each group has thousands of scans."""
    rng = np.random.default_rng(2)
    findings, scans = FINDINGS[:15], 4_000
    labels = rng.random((scans, 1)) < 0.3
    cohort = Cohort(
        findings=findings[:1],
        scores=np.clip(rng.beta(2, 3, (scans, 1)) + 0.2 * labels, 0, 1),
        labels=labels,
        known=np.ones_like(labels),
        patients=np.arange(scans) // 4,
        has_patient=np.ones(scans, np.bool_),
        groupings={"manufacturer": group_by(rng.choice([f"maker {n}" for n in range(16)], scans).tolist())},
    )
    size = len(json.dumps(page_data(a_report(cohort), cohort), separators=(",", ":")))
    assert size * len(findings) < 2_000_000
