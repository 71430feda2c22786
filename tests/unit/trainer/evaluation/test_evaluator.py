"""A CSV's rows, labels and scores become the cohort that they say, and are evaluated as a run's are."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from db.evaluation.evaluate import GIVEN, describe_clusters
from trainer.evaluation.evaluator import MEAN_PIXEL, evaluate_scores


def test_figures_are_those_of_scikit_learn(scored, evaluation):
    """AUROC, average precision and Brier score of each finding, and rates at each threshold, within intervals."""
    for at, finding in enumerate(scored.findings[:2]):
        truth, exact = scored.labels[:, at] > 0, scored.scores[:, at].astype(float)
        result = evaluation.findings[finding]
        judged = [
            (result.figures.auroc, roc_auc_score(truth, exact)),
            (result.figures.average_precision, average_precision_score(truth, exact)),
            (result.figures.brier, brier_score_loss(truth, exact)),
        ]
        for one in result.thresholds:
            predicted = exact >= one.rates.threshold
            judged += [
                (one.rates.precision, precision_score(truth, predicted)),
                (one.rates.recall, recall_score(truth, predicted)),
                (one.rates.f1, f1_score(truth, predicted)),
                (one.rates.accuracy, accuracy_score(truth, predicted)),
            ]
        for figure, judge in judged:
            assert figure.value == pytest.approx(judge)
            assert figure.low <= figure.value <= figure.high


def test_an_undefined_figure_is_null(evaluation):
    """For a finding that no scan has, the JSON has neither NaN nor 0."""
    hernia = evaluation.findings["Hernia"].figures
    assert (hernia.positives, hernia.auroc.value, hernia.average_precision.value) == (0, None, None)
    assert json.loads(json.dumps(asdict(evaluation), allow_nan=False))["findings"]["Hernia"]["figures"]["auroc"] == {
        "value": None,
        "low": None,
        "high": None,
    }


def test_figures_are_of_the_scans_whose_label_is_known(scored):
    """Each finding's are those of an evaluation that has these scans alone, and other findings keep all scans."""
    some = scored.labels.copy()
    some[::3, 0] = np.nan
    known = ~np.isnan(some[:, 0])
    cohort = replace(scored, labels=some).cohort()
    pixels = np.arange(300.0)
    found = evaluate_scores(cohort, {}, pixels)
    alone = evaluate_scores(cohort.filter(known), {}, pixels[known])
    whole = evaluate_scores(scored.cohort(), {}, pixels)
    assert found.findings["Abnormal"] == alone.findings["Abnormal"]
    assert found.findings["Abnormal"].figures.scans == 200
    assert found.findings["Effusion"] == whole.findings["Effusion"]
    assert (found.scans, found.mean_auroc) == (300, whole.mean_auroc)


def test_a_finding_that_is_known_of_no_scan_has_no_figures(scored):
    """It is undefined everywhere, and does not stop the JSON."""
    none = scored.labels.copy()
    none[:, 0] = np.nan
    found = scored.evaluate(labels=none)
    figures = found.findings["Abnormal"].figures
    assert (figures.scans, figures.positives, figures.auroc.value, figures.brier.value) == (0, 0, None, None)
    json.dumps(asdict(found), allow_nan=False)


def test_thresholds_are_a_runs_and_the_models_own(scored, evaluation):
    """No threshold is chosen here; counts are of scores in double precision."""
    thresholds = evaluation.findings["Abnormal"].thresholds
    assert [(one.chosen_by, one.rates.threshold) for one in thresholds] == [
        *((GIVEN, threshold) for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)),
        ("best_f1", 0.375),
    ]
    predicted = scored.scores[:, 0].astype(float) >= 0.375
    assert thresholds[-1].rates.tp == int((predicted & (scored.labels[:, 0] > 0)).sum())


def test_every_scan_is_in_one_group_of_each_kind(scored, evaluation):
    """Of view, sex, age band and manufacturer; each group's figures are of its own scans."""
    groups = evaluation.findings["Abnormal"].groups
    assert {kind: list(of_kind) for kind, of_kind in groups.items()} == {
        "view": ["PA", "AP"],
        "sex": ["F", "M"],
        "age": ["0-17", "18-39", "40-59", "60-79", "80+"],
        "manufacturer": ["Acme", "unknown"],
    }
    for of_kind in groups.values():
        assert sum(group.scans for group in of_kind.values()) == 300
        assert sum(group.positives for group in of_kind.values()) == scored.labels[:, 0].sum()
    portable = np.array([one.view == "AP" for one in scored.rows])
    expected = roc_auc_score(scored.labels[portable, 0], scored.scores[portable, 0])
    assert groups["view"]["AP"].auroc.value == pytest.approx(expected)
    assert groups["manufacturer"]["Acme"].scans == 200


def test_what_no_row_says_is_no_group_and_no_baseline(scored):
    """Without view, sex, age and manufacturer the model's figures are the same."""
    bare = [replace(one, view=None, sex=None, age_years=None) for one in scored.rows]
    found = scored.evaluate(rows=bare, manufacturers={}).findings["Abnormal"]
    assert found.groups == {}
    assert list(found.baselines) == ["always_positive", "majority", MEAN_PIXEL]
    assert found.figures == scored.evaluate().findings["Abnormal"].figures


def test_the_mean_pixel_is_judged_as_it_is(scored, evaluation):
    """It lies in 0..255, so it has an AUROC and makes no prediction."""
    baseline = evaluation.findings["Abnormal"].baselines[MEAN_PIXEL]
    assert baseline.auroc.value == pytest.approx(roc_auc_score(scored.labels[:, 0], np.arange(300)))
    assert (baseline.f1, baseline.accuracy) == (None, None)


def test_scans_without_a_patient_count_as_patients_of_their_own(scored, evaluation):
    """The evaluation says so, and its intervals are those of independent scans."""
    anonymous = scored.evaluate(rows=[replace(one, patient_id=None) for one in scored.rows])
    assert (anonymous.patients, anonymous.scans_without_patient) == (0, 300)
    assert describe_clusters(anonymous).startswith("by scan, too narrow")
    assert (evaluation.patients, evaluation.scans_without_patient) == (100, 0)
    one, other = (each.findings["Abnormal"].figures.auroc for each in (anonymous, evaluation))
    assert one.value == other.value
    assert one != other
