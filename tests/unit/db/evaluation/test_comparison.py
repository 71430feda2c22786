"""Two sets of scores of the same scans: every difference against a recount of its own."""

import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest

from db.evaluation.cohort import Cohort, Sample
from db.evaluation.comparison import compare_finding
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import figures_of
from db.evaluation.mcnemar import mcnemar
from db.evaluation.rates import rates_at
from tests.support.clustered_sets import STRONG, WEAK, Second, paired_sets
from tests.support.paired_errors import FIGURES, TESTS, cohort_of, compare, found

THRESHOLDS = 0.12, 0.2


def pair(kind=STRONG, patients=150, **second):
    return paired_sets(kind, patients, Second(**second), np.random.default_rng(0))


def compared(first, second, thresholds=THRESHOLDS):
    return compare_finding(
        cohort_of(first), cohort_of(second), "Finding", first_threshold=thresholds[0], second_threshold=thresholds[1]
    )


def of(sample, scores, labels=None):
    return replace(sample, scores=np.asarray(scores, float), labels=sample.labels if labels is None else labels)


def figures(labels, scores, threshold):
    """By their definitions."""
    apart = scores[labels][:, np.newaxis] - scores[~labels]
    return np.array(
        [
            ((apart > 0) + (apart == 0) / 2).mean(),
            (scores[labels] >= threshold).mean(),
            (scores[~labels] < threshold).mean(),
            ((scores - labels) ** 2).mean(),
        ]
    )


def test_a_difference_and_its_interval_are_those_of_the_jackknife_over_patients():
    """Computed once more without each of 150 patients; with ties, and labels of two sets."""
    first, second = (of(sample, np.round(sample.scores, 2)) for sample in pair(signal=0.5))
    second = of(second, second.scores, second.labels ^ (np.arange(len(second.labels)) % 40 == 0))

    def apart(rows):
        return figures(second.labels[rows], second.scores[rows], THRESHOLDS[1]) - figures(
            first.labels[rows], first.scores[rows], THRESHOLDS[0]
        )

    without = np.array([apart(first.patients != patient) for patient in range(150)])
    deviations = np.sqrt(149 / 150 * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    result = compared(first, second)
    for name, value, deviation in zip(FIGURES, apart(slice(None)), deviations, strict=True):
        given = result.figures[name].difference
        assert given.value == pytest.approx(value)
        # 2 to 2.5 deviations: Student's t with the degrees of freedom of few heavy patients.
        assert 0.95 * 1.96 < (given.high - given.low) / 2 / deviation < 2.5


def test_each_sides_figures_are_those_of_its_own_evaluation():
    """With their intervals; sensitivity and specificity at the side's own threshold."""
    samples = pair()
    for side, sample, threshold in zip(("first", "second"), samples, THRESHOLDS, strict=True):
        alone, rates = figures_of(sample), rates_at(sample, [threshold])[0]
        assert {name: getattr(one, side) for name, one in compared(*samples).figures.items()} == {
            "auroc": alone.auroc,
            "sensitivity": rates.recall,
            "specificity": rates.specificity,
            "brier": alone.brier,
        }


def test_p_is_below_005_exactly_where_the_interval_leaves_out_0():
    """Of 240 differences of 60 pairs, some on either side."""
    below = []
    for seed in range(60):
        samples = paired_sets(WEAK, 400, Second(signal=0.8), np.random.default_rng(seed))
        for one in compare(*samples, WEAK.threshold).figures.values():
            if one.p_value is not None:
                below.append(one.p_value < 0.05)
                assert below[-1] == (not one.difference.low <= 0 <= one.difference.high)
    assert 20 < sum(below) < len(below) - 20


def test_an_exchange_of_both_sides_turns_the_signs_and_keeps_p():
    """Of figures, agreement and changes."""
    first, second = pair(signal=0.6)
    one, other = compared(first, second), compared(second, first, THRESHOLDS[::-1])
    for name in FIGURES:
        there, back = one.figures[name], other.figures[name]
        assert (back.first, back.second, back.p_value) == (there.second, there.first, there.p_value)
        assert turned(back.difference) == there.difference
    assert turned(other.agreement.mean_difference) == one.agreement.mean_difference
    assert (-other.agreement.high, -other.agreement.low) == (one.agreement.low, one.agreement.high)
    for there, back in ((one.flagged, other.flagged), (one.correct, other.correct)):
        assert (back.only_second, back.only_first, back.p_value) == (there.only_first, there.only_second, there.p_value)


def turned(figure):
    return Estimate(value=-figure.value, low=-figure.high, high=-figure.low)


def test_the_same_scores_differ_by_0_without_interval_and_p():
    """Without a warning: nothing varies that could tell how far the difference may be off."""
    sample, _ = pair()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = compare(sample, sample, 0.2)
    assert result.no_interval is None
    assert {(one.difference, one.p_value) for one in result.figures.values()} == {(Estimate(value=0.0), None)}
    assert result.agreement.mean_difference == Estimate(value=0.0)
    assert (result.agreement.low, result.agreement.high, result.agreement.rank_correlation) == (0, 0, 1)
    assert (result.flagged.p_value, result.correct.p_value, result.changed.any()) == (None, None, False)


@pytest.mark.parametrize(("changed", "given"), [(4, False), (5, True)])
def test_a_difference_that_few_patients_make_has_no_interval(changed, given):
    """Of 200 patients, four or five positive ones lose their flag and two negative ones gain it; all scores move."""
    labels, patients = np.arange(200) % 2 == 0, np.arange(200)
    scores = np.where(labels, 0.8, 0.1)
    other = scores - patients / 1e5
    other[np.flatnonzero(labels)[:changed]] = 0.3
    other[np.flatnonzero(~labels)[:2]] = 0.7
    result = compare(*(Sample(labels=labels, scores=one, patients=patients) for one in (scores, other)), 0.5)
    sensitivity, specificity = result.figures["sensitivity"], result.figures["specificity"]
    assert sensitivity.difference.value == pytest.approx(-changed / 100)
    assert [sensitivity.p_value is not None, sensitivity.difference.low is not None] == [given, given]
    assert (specificity.difference, specificity.p_value) == (Estimate(value=pytest.approx(-0.02)), None)
    assert result.figures["brier"].p_value is not None


@pytest.mark.parametrize("moved", [slice(0, 4), slice(None)])
def test_scores_that_differ_in_few_patients_or_all_alike_have_no_interval_of_the_mean(moved):
    """Four of 200 patients, or a score that is 0.1 higher for all: of that the deviation is rounding."""
    sample = Sample(labels=np.arange(200) % 2 == 0, scores=np.arange(200) / 300, patients=np.arange(200))
    higher = sample.scores.copy()
    higher[moved] += 0.1
    mean = compared(sample, of(sample, higher)).agreement.mean_difference
    assert mean == Estimate(value=pytest.approx(0.1 * len(higher[moved]) / 200))


def test_mcnemars_test_is_of_what_each_patient_has_more():
    """Of flags and of correct predictions, both counted once more."""
    first, second = pair(signal=0.5)
    result = compared(first, second)
    flags = [sample.scores >= threshold for sample, threshold in zip((first, second), THRESHOLDS, strict=True)]
    for given, (one, other) in (
        (result.flagged, flags),
        (result.correct, [flags[0] == first.labels, flags[1] == second.labels]),
    ):
        surplus = [int(one[first.patients == at].sum()) - other[first.patients == at].sum() for at in range(150)]
        assert given.p_value == mcnemar(np.array(surplus))
        assert (given.only_first, given.only_second) == ((one & ~other).sum(), (other & ~one).sum())


def test_flags_that_all_change_have_a_difference_of_1_and_no_interval():
    """It is 1 without any of the patients too, so the jackknife knows no variance."""
    sample, _ = pair()
    never, always = (of(sample, np.full(len(sample.labels), score)) for score in (0.2, 0.9))
    sensitivity = compare(never, always, 0.5).figures["sensitivity"]
    assert (sensitivity.difference, sensitivity.p_value) == (Estimate(value=1.0), None)


def test_a_score_at_its_threshold_is_flagged():
    """On both sides, each at a threshold of its own."""
    sample, _ = pair()
    result = compared(of(sample, np.full(len(sample.labels), 0.12)), of(sample, np.full(len(sample.labels), 0.2)))
    assert (result.flagged.both, result.changed.sum()) == (len(sample.labels), 0)


def test_a_scan_is_judged_if_both_label_sets_know_it():
    """Each side by its own labels; agreement and flags are of all scans."""
    first, second = (cohort_of(sample) for sample in pair())
    scans = len(first.labels)
    first = replace(first, known=np.arange(scans)[:, None] % 5 != 0)
    second = replace(second, known=np.arange(scans)[:, None] % 7 != 0, labels=np.arange(scans)[:, None] % 3 == 0)
    result = compare_finding(first, second, "Finding", first_threshold=0.1, second_threshold=0.3)
    both = first.known & second.known
    assert (result.judged_scans, result.agreement.scans) == (both.sum(), scans)
    assert sum(value for value in asdict(result.flagged).values() if isinstance(value, int)) == scans
    assert result.first_positives == (first.labels & both).sum()
    assert result.second_positives == (second.labels & both).sum()
    right = [(one.scores >= t) == one.labels for one, t in ((first, 0.1), (second, 0.3))]
    assert result.correct.only_first == (right[0] & ~right[1] & both).sum()
    assert result.figures["sensitivity"].second.value == pytest.approx(
        ((second.scores >= 0.3) & second.labels & both).sum() / (second.labels & both).sum()
    )


def test_findings_may_stand_in_other_columns():
    """Of two models that have their findings in another order."""
    first, second = (cohort_of(sample) for sample in pair())
    swapped = replace(
        second,
        findings=("Other", "Finding"),
        **{name: np.column_stack([~getattr(second, name).astype(bool), getattr(second, name)]) for name in COLUMNS},
    )
    alone, among = (
        compare_finding(first, one, "Finding", first_threshold=0.1, second_threshold=0.1) for one in (second, swapped)
    )
    assert among.figures == alone.figures


COLUMNS = "scores", "labels", "known"


def test_without_labels_scores_are_compared_all_the_same():
    """Agreement and flags need none."""
    first, second = (replace(one, known=np.zeros_like(one.known)) for one in map(cohort_of, pair()))
    result = compare_finding(first, second, "Finding", first_threshold=0.1, second_threshold=0.1)
    assert (result.judged_scans, result.first_positives, result.correct, result.no_interval) == (0, None, None, None)
    assert {one.difference for one in result.figures.values()} == {Estimate(value=None)}
    assert 0 < result.agreement.rank_correlation < 1
    assert result.flagged.p_value is not None


def test_too_few_patients_of_a_class_leave_figures_without_intervals():
    """Of the second label set alone, too; a patient who has all scans is one."""
    first, second = pair()
    few = of(second, second.scores, second.labels & (np.cumsum(second.labels) < 5))
    result = compared(first, few)
    assert result.no_interval == "no interval: 4 positive scans, fewer than 5"
    assert {(one.difference.low, one.p_value, one.first.low) for one in result.figures.values()} == {(None,) * 3}
    lonely = compared(*(replace(one, patients=np.zeros_like(one.patients)) for one in (first, second)))
    assert lonely.no_interval == "no interval: the positive scans are of 1 patient, fewer than 5"
    assert lonely.agreement.mean_difference.low is lonely.flagged.p_value is None
    assert lonely.figures["auroc"].difference.value is not None


def test_the_limits_of_agreement_are_bland_and_altmans():
    """Mean and 1.96 standard deviations; the mean's interval is clustered, so wider than by scan."""
    first, second = pair(patients=400)
    found, apart = compared(first, second).agreement, second.scores - first.scores
    assert found.mean_difference.value == pytest.approx(apart.mean())
    assert (found.low, found.high) == pytest.approx(
        (apart.mean() - 1.96 * apart.std(ddof=1), apart.mean() + 1.96 * apart.std(ddof=1))
    )
    by_scan = 1.96 * apart.std(ddof=1) / len(apart) ** 0.5
    assert found.mean_difference.high - found.mean_difference.value > 1.3 * by_scan


@pytest.mark.parametrize("scans", [0, 1, 2, 7, 12])
def test_a_few_scans_are_compared_without_a_warning(scans):
    """Whatever their labels and patients are; a figure may be undefined."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cohorts = [
            Cohort(
                findings=("Finding",),
                scores=rng.integers(0, 4, (scans, 1)) / 3,
                labels=rng.random((scans, 1)) < 0.4,
                known=rng.random((scans, 1)) < 0.8,
                patients=np.arange(scans) // (1 + seed % 3) * 3,
                has_patient=np.ones(scans, np.bool_),
            )
            for _ in range(2)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compare_finding(*cohorts, "Finding", first_threshold=1 / 3, second_threshold=2 / 3)


def test_a_difference_is_found_in_about_5_of_100_pairs_that_have_none():
    """200 pairs: 10 with a deviation of 3.1, and fewer where patients are few; bench_compare has 4,000 of each kind."""
    errors = found(WEAK, Second(), dict.fromkeys(FIGURES, 0.0), positives=40, sets=200).raised
    assert {name: share for name, share in errors.items() if not 0.005 <= share <= 0.1} == {}
    assert set(errors) == {*TESTS}
