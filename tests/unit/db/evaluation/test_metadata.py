"""The baselines of metadata: neither drawn against a finding nor changed by the order of scans."""

import numpy as np
import pytest

from db.evaluation.cohort import Sample, group_by
from db.evaluation.metadata import auroc_within_folds, cross_fit, share_by_group
from db.evaluation.ranking import auroc_statistic


def scans(seed, *, patients=100, tells=0.0):
    """Three scans of each patient; `tells` is how much more often a scan of view AP has the finding."""
    rng = np.random.default_rng(seed)
    size = 3 * patients
    views, bands = rng.choice(["PA", "AP"], size), rng.choice(["0-17", "18-39", "40-59", "60-79", "80+"], size)
    labels = rng.random(size) < 0.15 + tells * (views == "AP")
    sample = Sample(labels=labels, scores=np.zeros(size), patients=np.arange(size) // 3)
    return sample, [group_by(views.tolist()), group_by(bands.tolist())]


def auroc_of(sample, kinds):
    return auroc_within_folds(sample, cross_fit(sample, kinds)).value


def test_metadata_that_tell_nothing_have_an_auroc_of_a_half():
    """On average of 150 sets; over all pairs it is 0.46, because a fold's own positives are missing in its fit."""
    aurocs = [auroc_of(*scans(seed)) for seed in range(150)]
    assert abs(np.mean(aurocs) - 0.5) < 2.6 * np.std(aurocs) / 150**0.5 < 0.015


def test_metadata_that_tell_something_are_used():
    """Also to score patients that the fit has not seen."""
    sample, kinds = scans(0, patients=1000, tells=0.4)
    by_view = Sample(labels=sample.labels, scores=share_by_group(sample, kinds[0]), patients=sample.patients)
    assert auroc_of(sample, kinds) == pytest.approx(auroc_statistic(by_view).value, abs=0.02)
    assert by_view.curve.auroc > 0.65


def test_the_order_of_scans_and_patients_changes_no_figure():
    """The AUROC is the same to twelve digits, because patients with the same scans are alike."""
    sample, kinds = scans(1)
    order = np.random.default_rng(0).permutation(300)
    other = Sample(
        labels=sample.labels[order],
        scores=sample.scores,
        patients=np.unique(99 - sample.patients[order], return_inverse=True)[1],
    )
    found = auroc_of(other, [kind.filter(order) for kind in kinds])
    assert found == pytest.approx(auroc_of(sample, kinds), rel=1e-12)


def test_a_groups_score_is_its_share_of_positives():
    """Of these scans; scans of one group alone have no score."""
    labels = np.array([True, False, False, True, True, False])
    sample = Sample(labels=labels, scores=np.zeros(6), patients=np.arange(6))
    by_view = group_by(["PA", "PA", "PA", "AP", "AP", "AP"])
    assert share_by_group(sample, by_view).tolist() == pytest.approx([1 / 3] * 3 + [2 / 3] * 3)
    assert share_by_group(sample, group_by(["PA"] * 6)) is None


def test_too_few_patients_have_no_scores():
    """With nine patients of one class a fold may be left without any; groups of one name tell nothing."""
    sample, kinds = scans(0)
    first = np.flatnonzero(sample.labels)[:9]
    few = Sample(labels=np.isin(np.arange(300), first), scores=sample.scores, patients=np.arange(300))
    assert cross_fit(few, kinds) is None
    assert cross_fit(sample, [group_by(["PA"] * 300)]) is None
