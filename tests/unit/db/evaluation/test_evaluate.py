"""The evaluation of a cohort as a whole, also of cohorts that hardly have any scans."""

from dataclasses import replace

import numpy as np
import pytest

from db.evaluation.cohort import Cohort, Sample, group_by, number_patients
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import describe_clusters, evaluate, figures_of, mean_auroc_statistic
from db.evaluation.ranking import auroc_statistic


def cohort_of(scans=120, *, patients=60, findings=("Effusion", "Mass", "Abnormal"), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((scans, len(findings))) < 0.3
    of_scans = rng.integers(0, max(patients, 1), scans)
    numbers, has_patient = number_patients([str(number) for number in of_scans])
    return Cohort(
        findings=findings,
        scores=(rng.random((scans, len(findings))) + labels) / 2,
        labels=labels,
        known=np.ones_like(labels),
        patients=numbers,
        has_patient=has_patient,
        groupings={"view": group_by(rng.choice(["PA", "AP"], scans).tolist(), order=("PA", "AP"))},
    )


def sample_of(labels, scores, patients=None):
    return Sample(
        labels=np.array(labels, np.bool_),
        scores=np.array(scores, np.float64),
        patients=np.arange(len(labels)) if patients is None else np.array(patients, np.int64),
    )


def test_a_cohort_without_a_scan_has_undefined_figures():
    """Nothing raises; no figure is 0."""
    found = evaluate(cohort_of(0), thresholds=(0.0, 0.5, 1.0))
    assert (found.scans, found.patients, found.mean_auroc) == (0, 0, Estimate(value=None))
    effusion = found.findings["Effusion"]
    assert {one.value for one in vars(effusion.figures).values() if isinstance(one, Estimate)} == {None}
    assert effusion.thresholds[1].rates.accuracy == Estimate(value=None)
    assert (effusion.calibration, effusion.groups["view"]) == ((), {})


def test_one_class_has_no_ranking_and_says_why_there_is_no_interval():
    """Brier's score and accuracy are defined all the same."""
    figures = figures_of(sample_of([False] * 30, np.linspace(0, 1, 30)))
    assert (figures.auroc.value, figures.average_precision.value, figures.calibration_slope.value) == (None, None, None)
    assert figures.brier.value == pytest.approx(np.mean(np.linspace(0, 1, 30) ** 2))
    assert (figures.brier.low, figures.no_interval) == (None, "no interval: 0 positive scans, fewer than 5")


def test_one_patient_has_figures_without_intervals():
    """However many scans there are of that patient."""
    figures = figures_of(sample_of([True, False] * 50, np.linspace(0, 1, 100), [0] * 100))
    assert figures.no_interval == "no interval: the positive scans are of 1 patient, fewer than 5"
    assert figures.auroc.value is not None
    assert figures.auroc.low is None


@pytest.mark.parametrize(("positives", "interval"), [(4, False), (5, True)])
def test_intervals_begin_with_five_of_each_class(positives, interval):
    """Scans and patients; of negatives too."""
    labels = np.arange(40) < positives
    for truth in (labels, ~labels):
        figures = figures_of(sample_of(truth, np.linspace(0.9, 0.1, 40)[::-1] * 0.5 + (np.arange(40) % 3) / 9))
        assert (figures.auroc.low is not None, figures.no_interval is None) == (interval, interval)


def test_equal_scores_order_nothing():
    """Every pair is a tie: AUROC 0.5, with an interval that is as narrow as the data say."""
    figures = figures_of(sample_of([True] * 20 + [False] * 60, [0.25] * 80))
    assert figures.auroc == Estimate(value=0.5, low=0.5, high=0.5)
    assert figures.average_precision.value == 0.25
    assert figures.observed_over_expected.value == 1.0


def test_perfect_separation_has_an_auroc_of_1_without_interval_and_no_slope():
    """The logit of 1 is infinite, and so is the slope."""
    figures = figures_of(sample_of([True] * 10 + [False] * 30, [1.0] * 10 + [0.0] * 30))
    assert (figures.auroc, figures.calibration_slope) == (Estimate(value=1.0), Estimate(value=None))
    assert figures.brier == Estimate(value=0.0)
    assert figures.observed_over_expected.value == 1.0


def test_intervals_without_known_patients_say_that_they_are_too_narrow():
    """Every scan counts as a patient of its own; where some are known it says how many are not."""
    cohort = cohort_of()
    unknown = replace(cohort, patients=np.arange(120), has_patient=np.zeros(120, np.bool_))
    some = replace(cohort, has_patient=np.arange(120) >= 7)
    found = [evaluate(one, thresholds=(0.5,)) for one in (cohort, unknown, some)]
    assert [describe_clusters(one) for one in found] == [
        "clustered by patient",
        "by scan, too narrow: no patient is known",
        "clustered by patient; 7 scans without a patient id count as patients of their own",
    ]


def test_scans_whose_label_is_unknown_count_for_nothing():
    """The figures are those of the cohort without them."""
    cohort = cohort_of()
    rows = np.arange(120) % 3 != 0
    partly = replace(cohort, known=np.repeat(rows[:, np.newaxis], 3, axis=1))
    found, right = (evaluate(one, thresholds=(0.5,)) for one in (partly, cohort.filter(rows)))
    assert found.findings == right.findings
    assert found.mean_auroc == right.mean_auroc


def test_given_thresholds_ascend_once_each_and_the_models_own_follow():
    """0 and 1 are thresholds as any other."""
    found = evaluate(
        cohort_of(), thresholds=(1.0, 0.5, 0.0, 0.5), own_thresholds={"Effusion": {"youden": 0.31}}
    ).findings
    chosen = [(one.chosen_by, one.rates.threshold) for one in found["Effusion"].thresholds]
    assert chosen == [("given", 0.0), ("given", 0.5), ("given", 1.0), ("youden", 0.31)]
    assert len(found["Mass"].thresholds) == 3


def test_a_stated_prevalence_belongs_to_its_finding():
    """The others have no predictive values of another prevalence."""
    found = evaluate(cohort_of(), thresholds=(0.5,), prevalence={"Mass": 0.01}).findings
    assert found["Effusion"].thresholds[0].at_prevalence is None
    assert found["Mass"].thresholds[0].at_prevalence.prevalence == 0.01


def test_the_mean_auroc_is_that_of_findings_with_both_classes():
    """Each patient's influence on it is the mean of the influences; `Abnormal` holds the others and is left out."""
    cohort = cohort_of(400, patients=150)
    cohort.labels[:, 1] = False
    assert (
        evaluate(cohort, thresholds=()).mean_auroc == evaluate(cohort, thresholds=()).findings["Effusion"].figures.auroc
    )
    cohort = cohort_of(400, patients=150)
    found = mean_auroc_statistic(cohort, ("Effusion", "Mass"))
    parts = [auroc_statistic(cohort.sample(finding)) for finding in ("Effusion", "Mass")]
    assert found.value == pytest.approx(np.mean([part.value for part in parts]))
    assert found.influence == pytest.approx(np.mean([part.influence for part in parts], axis=0))


def test_the_mean_auroc_has_no_interval_if_a_finding_has_none():
    """Four positives tell nothing of how far the mean may be off."""
    cohort = cohort_of(400, patients=150)
    cohort.labels[:, 1] = np.arange(400) < 4
    found = evaluate(cohort, thresholds=()).mean_auroc
    assert found.value is not None
    assert found.low is None


def test_a_groups_figures_are_those_of_its_scans():
    """And groups of a kind are all of its names."""
    cohort = cohort_of()
    found = evaluate(cohort, thresholds=()).findings["Effusion"].groups["view"]
    assert list(found) == ["PA", "AP"]
    of_ap = cohort.filter(cohort.groupings["view"].places == 1)
    assert found["AP"] == figures_of(of_ap.sample("Effusion"))


def test_baselines_are_of_the_same_scans():
    """The caller's scores too, whose range does not matter."""
    cohort = cohort_of(400, patients=150)
    given = {"prior_model": 100 * cohort.scores[:, 0]}
    found = evaluate(cohort, thresholds=(), baselines=given).findings["Effusion"]
    assert list(found.baselines) == ["always_positive", "majority", "view_only", "metadata_only", "prior_model"]
    assert found.baselines["prior_model"].auroc == found.figures.auroc
    assert found.baselines["always_positive"].auroc == Estimate(value=0.5), "no interval, because nothing varies"
    share = found.figures.positives / found.figures.scans
    assert found.baselines["majority"].accuracy == pytest.approx(1 - share)


def test_of_no_scan_nobody_says_that_patients_are_unknown():
    """All scans may be left out of a run whose patients are known."""
    nothing = Cohort(
        findings=("Mass",),
        scores=np.zeros((0, 1)),
        labels=np.zeros((0, 1), np.bool_),
        known=np.zeros((0, 1), np.bool_),
        patients=np.zeros(0, np.int64),
        has_patient=np.zeros(0, np.bool_),
    )
    assert describe_clusters(evaluate(nothing, thresholds=(0.5,))) == "clustered by patient"


def test_the_reason_for_no_interval_counts_in_words_that_agree():
    """One scan, one patient."""
    labels = np.arange(40) == 0
    sample = Sample(labels=labels, scores=np.linspace(0, 1, 40), patients=np.arange(40))
    assert sample.no_interval == "no interval: 1 positive scan, fewer than 5"
    one = Sample(labels=np.arange(40) < 6, scores=np.linspace(0, 1, 40), patients=np.maximum(np.arange(40), 5) - 5)
    assert one.no_interval == "no interval: the positive scans are of 1 patient, fewer than 5"
