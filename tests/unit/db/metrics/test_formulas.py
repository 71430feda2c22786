"""Compares `db.metrics.formulas` with hand-computed numbers, the mini project's, and scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.metrics.formulas import ConfusionMatrix, Labels, ScoreArray, auroc, confusion_matrix_at, roc_curve

#: The mini project's test set of 1,122 scans: the number of scans by label and by the lower edge of their score's bin.
EDGES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7)
POSITIVES = (180, 16, 23, 12, 19, 254)
NEGATIVES = (400, 20, 20, 10, 20, 148)

PAIRS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])), max_size=40)


def mini_project() -> tuple[Labels, ScoreArray]:
    """Labels (1122,) and scores (1122,), each score exactly on the lower edge of its bin."""
    scores = np.concatenate([np.repeat(EDGES, POSITIVES), np.repeat(EDGES, NEGATIVES)])
    return np.arange(1122) < sum(POSITIVES), scores


def arrays(pairs: list[tuple[bool, float]]) -> tuple[Labels, ScoreArray]:
    """Labels (N,) and scores (N,) from pairs."""
    return np.array([label for label, _ in pairs], np.bool_), np.array([score for _, score in pairs], np.float64)


def test_the_mini_projects_rates_at_one_half_are_reproduced() -> None:
    """1,122 scans, TP 285, FP 178, FN 219, TN 440 give the rates that the mini project printed."""
    counts = confusion_matrix_at(*mini_project(), 0.5)
    assert counts == ConfusionMatrix(tp=285, fp=178, fn=219, tn=440)
    rates = (counts.precision, counts.recall, counts.f1, counts.accuracy)
    assert rates == pytest.approx((0.61555, 0.56548, 0.58945, 0.64617), abs=5e-6)


@pytest.mark.parametrize(("threshold", "right"), [(0.3, 724), (0.4, 728), (0.5, 725), (0.6, 723), (0.7, 724)])
def test_the_mini_projects_right_answers_are_reproduced_at_each_threshold(threshold: float, right: int) -> None:
    """A score that equals the threshold is a positive prediction, at every threshold."""
    counts = confusion_matrix_at(*mini_project(), threshold)
    assert counts.tp + counts.tn == right
    assert counts.accuracy == pytest.approx(right / 1122)


def test_scores_in_single_precision_are_compared_in_double() -> None:
    """0.7 in float32 is less than 0.7, so it is not a positive prediction at 0.7."""
    assert confusion_matrix_at(np.array([True]), np.array([0.7], np.float32), 0.7).tp == 0


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        (ConfusionMatrix(tp=0, fp=0, fn=3, tn=4), {"precision"}),
        (ConfusionMatrix(tp=0, fp=2, fn=0, tn=4), {"recall", "balanced_accuracy"}),
        (ConfusionMatrix(tp=2, fp=0, fn=1, tn=0), {"specificity", "balanced_accuracy"}),
        (ConfusionMatrix(tp=0, fp=0, fn=0, tn=4), {"precision", "recall", "f1", "balanced_accuracy"}),
        (
            ConfusionMatrix(tp=0, fp=0, fn=0, tn=0),
            {"precision", "recall", "specificity", "f1", "accuracy", "balanced_accuracy"},
        ),
    ],
)
def test_a_rate_without_a_denominator_is_none_and_every_other_is_a_number(
    counts: ConfusionMatrix, undefined: set[str]
) -> None:
    """An undefined rate is None, never 0, and only an undefined rate is None."""
    names = ("precision", "recall", "specificity", "f1", "accuracy", "balanced_accuracy")
    assert {name for name in names if getattr(counts, name) is None} == undefined


@given(PAIRS, st.sampled_from([0.0, 0.3, 0.5, 0.55, 1.0]))
def test_counts_and_rates_agree_with_scikit_learn(pairs: list[tuple[bool, float]], threshold: float) -> None:
    """scikit-learn's confusion matrix and F1 are an independent oracle, wherever they are defined."""
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

    labels, scores = arrays(pairs)
    counts = confusion_matrix_at(labels, scores, threshold)
    predicted = [score >= threshold for _, score in pairs]
    if pairs:
        matrix = confusion_matrix(labels, predicted, labels=[False, True])
        assert matrix.tolist() == [[counts.tn, counts.fp], [counts.fn, counts.tp]]
    for value, oracle in ((counts.f1, f1_score), (counts.precision, precision_score), (counts.recall, recall_score)):
        assert value is None or value == pytest.approx(oracle(labels, predicted))
    if counts.balanced_accuracy is not None:
        assert counts.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))


@given(PAIRS)
def test_auroc_is_the_chance_that_a_positive_outscores_a_negative(pairs: list[tuple[bool, float]]) -> None:
    """Counted pair by pair, with a tie as one half (Mann and Whitney); None if a class is missing."""
    labels, scores = arrays(pairs)
    wins = [(p > n) + (p == n) / 2 for p in scores[labels] for n in scores[~labels]]
    assert auroc(labels, scores) == (pytest.approx(np.mean(wins)) if wins else None)


@pytest.mark.parametrize("labels", [[], [True, True], [False, False]])
def test_areas_are_none_where_a_class_is_missing(labels: list[bool]) -> None:
    """scikit-learn would return 0, 1 or NaN with a warning."""
    curve = roc_curve(np.array(labels, np.bool_), np.linspace(0, 1, len(labels)))
    assert (curve.auroc, curve.average_precision, curve.youden_threshold) == (None, None, None)


@given(PAIRS, st.integers(0, 2**32 - 1))
def test_areas_agree_with_scikit_learn(pairs: list[tuple[bool, float]], seed: int) -> None:
    """With and without ties, scikit-learn's areas are an independent oracle, to twelve digits."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, tied = arrays(pairs)
    for scores in (tied, np.random.default_rng(seed).random(len(pairs))):
        curve = roc_curve(labels, scores)
        if curve.auroc is not None:
            assert curve.auroc == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)
            assert curve.average_precision == pytest.approx(average_precision_score(labels, scores), rel=1e-12)


@given(PAIRS, st.sampled_from([0.0, 0.1, 0.3, np.nextafter(0.3, 1), 0.55, 1.0]))
def test_counts_from_the_curve_equal_direct_counts(pairs: list[tuple[bool, float]], threshold: float) -> None:
    """A score that equals the threshold is positive, and the next lower float is not."""
    labels, scores = arrays(pairs)
    assert roc_curve(labels, scores).confusion_matrix_at(threshold) == confusion_matrix_at(labels, scores, threshold)


def test_a_score_that_is_nan_raises() -> None:
    """A diverged network has no AUROC; if NaN were sorted, it would get one."""
    with pytest.raises(ValueError, match="not a number"):
        auroc(np.array([True, False]), np.array([0.5, np.nan]))


def test_average_precision_is_the_mean_of_precision_over_recall_steps() -> None:
    """In the order positive, negative, positive it is half of 1 plus half of 2/3."""
    curve = roc_curve(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]))
    assert curve.average_precision == pytest.approx(5 / 6)


@given(PAIRS)
def test_best_f1_threshold_is_the_highest_score_that_no_other_beats(pairs: list[tuple[bool, float]]) -> None:
    """Compares all scores as thresholds; of ties the highest wins. None without a positive label."""
    labels, scores = arrays(pairs)
    tried = {score: confusion_matrix_at(labels, scores, score).f1 or 0.0 for score in scores.tolist()}
    best = max((score for score in tried if tried[score] == max(tried.values())), default=None)
    assert roc_curve(labels, scores).best_f1_threshold == (best if labels.any() else None)


@given(PAIRS)
def test_youden_threshold_is_the_highest_score_that_no_other_beats(pairs: list[tuple[bool, float]]) -> None:
    """Compares all scores in whole numbers; of ties the highest wins. None if a class is missing."""
    labels, scores = arrays(pairs)
    counts = {score: confusion_matrix_at(labels, scores, score) for score in scores.tolist()}
    tried = {score: one.tp * one.tn - one.fp * one.fn for score, one in counts.items()}
    best = max((score for score in tried if tried[score] == max(tried.values())), default=None)
    assert roc_curve(labels, scores).youden_threshold == (best if labels.any() and not labels.all() else None)
