"""What is said of drift in words."""

import dataclasses

import pytest

from db.drift.night import NightDrift, Shift
from db.drift.sentences import describe_drift, describe_shift, format_deviations, format_shares

VIEW = Shift(kind="view", name="AP", cut=None, night=0.57, reference=0.35, standardised=14.21)
JUDGED = NightDrift(
    run_id=31,
    night="2026-11-25",
    reference_runs=tuple(range(1, 31)),
    scans=1_000,
    reference_scans=29_870,
    not_judged=None,
    p_value=0.001,
    is_alarm=True,
    shifts=(VIEW,),
)


def shift(kind, name, cut=None):
    return Shift(kind=kind, name=name, cut=cut, night=0.17, reference=0.1, standardised=-6.0)


def test_an_alarm_says_what_shifted_from_what_and_what_to_do():
    """One line, with p, which names the night and its reference."""
    assert describe_drift(JUDGED, name_manufacturer=False) == (
        "ALARM: drift: night 2026-11-25 differs from the 30 nights before it (29,870 scans): view AP 57% of scans "
        "(reference 35%), +14.2 deviations, p <= 0.001. "
        "Look at where its scans come from: a device, a ward, or what is written into headers."
    )


def test_a_run_that_is_like_one_other_run_says_its_largest_shift():
    """Neither is a night, so both are named by their numbers."""
    like = dataclasses.replace(JUDGED, night="", reference_runs=(17,), is_alarm=False, p_value=0.4321)
    assert describe_drift(like, name_manufacturer=False) == (
        "Drift: no alarm. Nothing shows that run 31 differs from run 17 (29,870 scans). "
        "Its largest shift is view AP 57% of scans (reference 35%), +14.2 deviations, p = 0.432."
    )


def test_what_is_not_compared_is_said_at_the_end():
    left_out = dataclasses.replace(JUDGED, not_compared=("view", "manufacturer"))
    assert describe_drift(left_out, name_manufacturer=False).endswith(
        " headers. Not compared, because nothing is known of it in the reference: view, manufacturer."
    )


def test_an_alarm_of_a_night_leads_to_what_the_night_itself_decided():
    """A run that is no night is compared with all its scans, so nothing is left out of its lists."""
    for kind, words in (("outcome", " --new'."), ("score", " (tick 'New outcomes'),")):
        night = dataclasses.replace(JUDGED, shifts=(shift(kind, "any"),))
        assert words in describe_drift(night, name_manufacturer=False)
        assert words not in describe_drift(dataclasses.replace(night, night=""), name_manufacturer=False)


def test_deviations_have_a_sign_unless_they_are_of_all_scores_together():
    """Sentence and tables have the same."""
    joint = Shift(kind="scores", name="all findings", cut=None, night=None, reference=None, standardised=6.5)
    unknown = dataclasses.replace(joint, kind="score", name="Effusion")
    shifts = (VIEW, shift("view", "PA"), joint, unknown)
    assert [format_deviations(of) for of in shifts] == ["+14.2", "-6.0", "6.5", "–"]


def test_a_night_that_is_not_judged_says_why():
    """It has no shift."""
    few = dataclasses.replace(JUDGED, not_judged="it has 12 scans, fewer than 50", is_alarm=None, shifts=())
    assert describe_drift(few, name_manufacturer=False) == "Drift is not judged: it has 12 scans, fewer than 50"


@pytest.mark.parametrize(
    ("of", "words", "action"),
    [
        (shift("outcome", "truncated"), "rejected as truncated: 17% of scans (", "producer failures --run 31"),
        (shift("outcome", "scored"), "scored: 17% of scans (", "producer failures --run 31"),
        (shift("outcome", "killed_worker"), "quarantined: 17% of scans (", "producer failures --run 31"),
        (
            shift("score", "Effusion", 0.3125),
            "scores of Effusion at or above 0.3125: 17% of scored scans (reference 10%), -6.0 deviations",
            "producer browse",
        ),
        (shift("age", "40-59"), "age 40-59 17% of scans (", "a device"),
    ],
    ids=["reason", "scored", "quarantined", "score", "age"],
)
def test_each_kind_of_quantity_has_its_words_and_its_action(of, words, action):
    """Text and action are of the largest shift."""
    assert words in describe_drift(dataclasses.replace(JUDGED, shifts=(of, VIEW)), name_manufacturer=False)
    assert action in describe_drift(dataclasses.replace(JUDGED, shifts=(of, VIEW)), name_manufacturer=False)


def test_a_manufacturer_is_named_only_where_names_may_stand():
    """Scans without one are named everywhere."""
    named = shift("manufacturer", "ACME")
    assert describe_shift(named, name_manufacturer=True).startswith("manufacturer ACME 17% of scans")
    assert describe_shift(named, name_manufacturer=False).startswith("a manufacturer 17% of scans")
    unknown = describe_shift(shift("manufacturer", "unknown"), name_manufacturer=False)
    assert unknown.startswith("manufacturer unknown 17% of scans")


@pytest.mark.parametrize(
    ("night", "reference", "texts"),
    [
        (0.57, 0.35, ("57%", "35%")),
        (0.352, 0.354, ("35.2%", "35.4%")),
        (0.5, 0.5, ("50%", "50%")),
        (0.004, 0.0, ("0.4%", "0.0%")),
        (0.9996, 0.9, ("99.96%", "90.00%")),
        (1.0, 0.0, ("100%", "0%")),
        (None, 0.1, ("–", "10%")),
    ],
)
def test_shares_are_told_apart_and_rounded_to_no_end(night, reference, texts):
    """0% means none, and 100% all."""
    of = Shift(kind="view", name="AP", cut=None, night=night, reference=reference, standardised=1.0)
    assert format_shares(of) == texts
