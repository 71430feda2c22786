"""The baseline of metadata is neither drawn against a finding nor changed by the order of scans."""

import numpy as np
import pytest

from db.evaluation.cohort import Sample, group_by
from db.evaluation.metadata import metadata_scores
from db.metrics.formulas import auroc


def scans(seed, *, patients=100, tells=0.0):
    """Three scans of each patient; `tells` is how much more often a scan of view AP has the finding."""
    rng = np.random.default_rng(seed)
    size = 3 * patients
    views, bands = rng.choice(["PA", "AP"], size), rng.choice(["0-17", "18-39", "40-59", "60-79", "80+"], size)
    labels = rng.random(size) < 0.15 + tells * (views == "AP")
    sample = Sample(labels=labels, scores=np.zeros(size), patients=np.arange(size) // 3)
    return sample, [group_by(views.tolist()), group_by(bands.tolist())]


def test_metadata_that_tell_nothing_have_an_auroc_of_a_half():
    """On average; with folds that are drawn regardless of labels it is 0.46, because each is fitted on the others."""
    aurocs = [auroc(sample.labels, metadata_scores(sample, kinds)) for sample, kinds in map(scans, range(100))]
    assert np.mean(aurocs) == pytest.approx(0.5, abs=0.02)


def test_metadata_that_tell_something_are_used():
    """Also to score patients that the fit has not seen."""
    sample, kinds = scans(0, patients=1000, tells=0.4)
    by_view = auroc(sample.labels, (kinds[0].places == kinds[0].names.index("AP")).astype(float))
    assert auroc(sample.labels, metadata_scores(sample, kinds)) == pytest.approx(by_view, abs=0.02)
    assert by_view > 0.65


def test_the_order_of_scans_and_patients_changes_no_score_that_counts():
    """The AUROC is the same to the last digit, because patients with the same scans are alike."""
    sample, kinds = scans(1)
    order = np.random.default_rng(0).permutation(300)
    other = Sample(
        labels=sample.labels[order],
        scores=sample.scores,
        patients=np.unique(99 - sample.patients[order], return_inverse=True)[1],
    )
    found = metadata_scores(sample, kinds)
    shuffled = metadata_scores(other, [kind.filter(order) for kind in kinds])
    assert auroc(other.labels, shuffled) == auroc(sample.labels, found)
