"""Nights that are judged against a reference."""

from dataclasses import replace

import numpy as np
import pytest

from db.drift.judge import judge_night
from db.drift.night import Shift
from db.drift.scans import SCORED, DecidedScans, Names
from tests.support.generated_nights import Hospital, pooled

REFERENCE = 3


@pytest.fixture(scope="module")
def hospital():
    return Hospital(np.random.default_rng(0), scans=400, findings=3)


@pytest.fixture(scope="module")
def reference(hospital):
    return pooled([hospital.night(run_id) for run_id in range(1, 8)])


def named(places, *names):
    return Names(names=names, places=np.asarray(places, np.int64))


def plain_scans(count, run_id, **changes):
    """Scans of one patient each, all scored alike, of PA and of unknown sex, age and manufacturer."""
    unknown = named(np.zeros(count), "unknown")
    plain = DecidedScans(
        findings=("Effusion",),
        runs=np.full(count, run_id),
        patients=np.arange(count),
        scores=np.full((count, 1), 0.25),
        outcomes=named(np.zeros(count), SCORED),
        groups={"view": named(np.zeros(count), "PA"), "sex": unknown, "age": unknown, "manufacturer": unknown},
    )
    return replace(plain, **changes)


def with_group(scans, kind, names):
    return replace(scans, groups={**scans.groups, kind: names})


def judge(night, reference, run_id=100):
    return judge_night(night, reference, run_id=run_id, name="2026-01-31")


def test_a_night_is_judged_the_same_each_time_and_by_its_run(hospital, reference):
    night = hospital.night(100)
    assert judge(night, reference) == judge(night, reference)
    assert judge(night, reference).p_value != judge(night, reference, run_id=101).p_value


def test_a_night_like_its_reference_has_no_shift():
    """Scan for scan."""
    scans = Hospital(np.random.default_rng(0), scans=300, findings=2).night(1)
    found = judge(replace(scans, runs=scans.runs + 1), scans)
    # Of all scores together it is as small as the normal approximation has it.
    assert max(abs(shift.standardised) for shift in found.shifts) < 0.2
    assert (found.p_value, found.is_alarm, found.reference_runs) == (1, False, (1,))
    assert {score.kolmogorov_smirnov for score in found.scores} == {0}


def test_the_largest_shift_comes_first_and_each_finding_once(hospital, reference):
    found = judge(hospital.night(100, recorded_ap=0.57), reference)
    sizes = [abs(shift.standardised) for shift in found.shifts]
    assert found.is_alarm
    assert found.largest.kind == "view"
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(shift.name for shift in found.shifts if shift.kind == "score") == sorted(reference.findings)


def test_a_shift_of_scores_is_stated_at_the_cut_where_it_is_largest(hospital, reference):
    night = hospital.night(100)
    night = replace(night, scores=np.minimum(night.scores + 0.1, 1))
    largest = judge(night, reference).largest
    column = night.findings.index(largest.name)
    for scans, share in ((night, largest.night), (reference, largest.reference)):
        scores = scans.scores[:, column]
        assert share == pytest.approx(np.mean(scores[~np.isnan(scores)] >= largest.cut))
    assert (largest.kind, largest.night > largest.reference) == ("score", True)


def test_a_finding_that_leaves_another_is_a_shift_of_all_scores_together():
    """It is 0.01 higher, half a deviation of a mean of 200; but it was always within 0.02 of the other one."""
    rng = np.random.default_rng(2)

    def alike(scans, by):
        scores = np.repeat(rng.random((len(scans.runs), 1)), 2, axis=1)
        scores[:, 1] += rng.uniform(-0.02, 0.02, len(scores)) + by
        return replace(scans, findings=("Effusion", "Mass"), scores=scores)

    found = judge(alike(plain_scans(200, 100), 0.01), alike(plain_scans(2000, 1), 0))
    assert (found.is_alarm, found.largest.kind, found.largest.name) == (True, "scores", "all findings")
    assert abs(found.shifts[1].standardised) < 3


def test_a_single_scan_of_a_new_reason_is_no_shift():
    """It is in 1 of 200 scans, and in none of 6,000."""
    outcomes = named([1] + [0] * 199, SCORED, "unreadable")
    found = judge(plain_scans(200, 100, outcomes=outcomes), plain_scans(6000, 1))
    assert 0.9 < abs(found.largest.standardised) < 1
    assert found.p_value > 0.02


def test_a_patients_scans_count_together():
    """40 of a night's 200 scans are of AP, of the reference 5%: an alarm if they are of 40 patients, none if of one."""
    reference = with_group(plain_scans(2000, 1), "view", named(np.arange(2000) % 20 == 0, "PA", "AP"))
    night = with_group(plain_scans(200, 100), "view", named(np.arange(200) < 40, "PA", "AP"))
    assert judge(night, reference).is_alarm
    assert not judge(replace(night, patients=np.maximum(np.arange(200), 39)), reference).is_alarm


def test_about_one_like_night_in_100_raises_an_alarm():
    """3 of 300, with a deviation of 1.7. If scans were drawn instead of patients, it would be 60."""
    hospital = Hospital(np.random.default_rng(1), scans=200, findings=2)
    nights = [hospital.night(run_id) for run_id in range(303)]
    found = [judge(nights[at], pooled(nights[at - REFERENCE : at]), at).is_alarm for at in range(REFERENCE, 303)]
    assert 0 < sum(found) <= 9


def test_a_night_of_which_every_scan_is_rejected_is_an_alarm_by_its_reason():
    night = plain_scans(60, 100, scores=np.full((60, 1), np.nan), outcomes=named(np.zeros(60), "unreadable"))
    reference = plain_scans(200, 1, scores=np.random.default_rng(0).random((200, 1)))
    found = judge(night, reference)
    assert (found.is_alarm, found.largest.kind) == (True, "outcome")
    (score,) = (shift for shift in found.shifts if shift.kind == "score")
    assert (score.night, score.standardised) == (None, 0)
    assert found.scores[0].night_mean is None


def test_a_finding_whose_scores_are_all_equal_has_no_cut():
    found = judge(plain_scans(60, 100), plain_scans(200, 1))
    nothing = Shift(kind="score", name="Effusion", cut=None, night=None, reference=None, standardised=0.0)
    assert nothing in found.shifts
    assert found.p_value == 1


def test_a_kind_of_which_the_reference_knows_nothing_is_not_compared():
    """A reference of PNG names no manufacturer, which is no drift of a night of DICOM; lost headers are one."""
    makers = named(np.zeros(200, np.int64), "ACME")
    with_headers, without = with_group(plain_scans(200, 100), "manufacturer", makers), plain_scans(200, 1)
    found = judge(with_headers, without)
    assert (found.not_compared, found.p_value) == (("manufacturer",), 1)
    assert "manufacturer" not in {shift.kind for shift in found.shifts}
    lost = judge(replace(without, runs=np.full(200, 101)), replace(with_headers, runs=np.full(200, 1)))
    assert (lost.not_compared, lost.is_alarm, lost.largest.kind) == ((), True, "manufacturer")


def test_the_eight_most_frequent_manufacturers_are_compared():
    """And all others together."""
    makers = [f"maker {letter}" for letter in "ABCDEFGHIJ"]
    scans = with_group(
        plain_scans(550, 1), "manufacturer", named(np.repeat(np.arange(10), np.arange(10, 110, 10)), *makers)
    )
    found = judge(replace(scans, runs=np.full(550, 100)), scans)
    assert {shift.name for shift in found.shifts if shift.kind == "manufacturer"} == {*makers[2:], "other"}


@pytest.mark.parametrize(
    ("scans", "reference", "sentence"),
    [
        (49, 300, "only 49 scans were decided in this night; a night under 50 is not judged"),
        (1, 300, "only 1 scan was decided in this night; a night under 50 is not judged"),
        (50, 12, "its reference has only 12 scans; a night is judged against at least 50"),
        (0, 300, "nothing new was decided in this night"),
        (50, 0, "its reference has no scan"),
    ],
)
def test_a_night_of_few_scans_or_against_few_is_not_judged(scans, reference, sentence):
    found = judge(plain_scans(scans, 100), plain_scans(reference, 1))
    assert (found.not_judged, found.scans, found.reference_scans) == (sentence, scans, reference)
    assert (found.p_value, found.is_alarm, found.largest, found.scores) == (None, None, None, ())
    assert judge(plain_scans(50, 100), plain_scans(50, 1)).not_judged is None
