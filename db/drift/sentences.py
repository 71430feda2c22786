"""What is said of a night's drift in words, on the terminal, on the page and in the night's summary alike."""

from typing import Final

from db.counted import counted
from db.drift.night import ALL_SCORES, OUTCOME, SCORE, NightDrift, Shift
from db.drift.scans import SCORED
from db.drift.shift_test import LEAST_P_VALUE
from db.evaluation.cohort import MANUFACTURER, OTHER, UNKNOWN
from db.evaluation.format import UNDEFINED, format_rate, format_threshold
from db.ledger.outcomes import KILLED_WORKER

#: It begins the line of an alarm everywhere, so logs can be searched for it.
ALARM: Final = "ALARM: drift"
#: What to do after an alarm, by the kind of the quantity that shifted most; `{run_id}` is the night's run. A night's
#: scans are those that its run decided itself, so the command and the list of its films are of these alone.
_LOOK_AT: Final = {
    OUTCOME: "Look at the rejects with 'producer failures --run {run_id}{new}'.",
    **dict.fromkeys(
        (SCORE, ALL_SCORES),
        "Look at its films in 'producer browse'{new_outcomes}, and at what changed: devices, how films are exported, "
        "the runtime.",
    ),
}
_LOOK_AT_SOURCE: Final = "Look at where its scans come from: a device, a ward, or what is written into headers."
#: Decimals of a percentage.
_MAX_DIGITS: Final = 3


def name_quantity(shift: Shift, *, name_manufacturer: bool, with_cut: bool = True) -> str:
    """What a shift is of, such as `view AP`, `rejected as truncated` or `scores of Effusion at or above 0.31`.

    Args:
        shift: the shift.
        name_manufacturer: false where text from headers must not stand: then it is `a manufacturer`.
        with_cut: say from which score on.
    """
    if shift.kind == SCORE:
        at = "" if shift.cut is None or not with_cut else f" at or above {format_threshold(shift.cut)}"
        return f"scores of {shift.name}{at}"
    if shift.kind == ALL_SCORES:
        return f"scores of {shift.name} together"
    if shift.kind == OUTCOME:
        return {SCORED: "scored", KILLED_WORKER: "quarantined"}.get(shift.name, f"rejected as {shift.name}")
    if shift.kind == MANUFACTURER and shift.name not in {OTHER, UNKNOWN} and not name_manufacturer:
        return "a manufacturer"
    return f"{shift.kind} {shift.name}"


def format_shares(shift: Shift) -> tuple[str, str]:
    """The shares of the night and of the reference as percentages, with as few decimals as tell them apart.

    A share is `0%` or `100%` only if it is exactly that; three decimals are the most. Without scans it is a dash.
    """
    shares = (shift.night, shift.reference)
    for digits in range(_MAX_DIGITS + 1):
        night, reference = (format_rate(None) if share is None else f"{share:.{digits}%}" for share in shares)
        is_told_apart = night != reference or shift.night == shift.reference
        if is_told_apart and not any(_is_rounded_to_end(share, digits) for share in shares):
            break
    return night, reference


def format_deviations(shift: Shift) -> str:
    """A shift in deviations: `+14.2` if the night's share is higher; a dash if a share is of no scan.

    That of all scores together has no sign.
    """
    if shift.kind == ALL_SCORES:
        return f"{shift.standardised:.1f}"
    return UNDEFINED if shift.night is None or shift.reference is None else f"{shift.standardised:+.1f}"


def format_p_value(p_value: float | None) -> str:
    """`0.432`; `<= 0.001` if no permutation reached the night, because p is at most that, however large the shift."""
    return f"<= {LEAST_P_VALUE:g}" if p_value == LEAST_P_VALUE else format_rate(p_value)


def describe_shift(shift: Shift, *, name_manufacturer: bool) -> str:
    """A shift in words, such as `view AP 57% of scans (reference 35%), +14.2 deviations`."""
    deviations = f"{format_deviations(shift)} deviations"
    if shift.kind == ALL_SCORES:
        return f"{name_quantity(shift, name_manufacturer=False)}, {deviations}"
    night, reference = format_shares(shift)
    of = "scored scans" if shift.kind == SCORE else "scans"
    colon = ":" if shift.kind in {SCORE, OUTCOME} else ""
    quantity = name_quantity(shift, name_manufacturer=name_manufacturer)
    return f"{quantity}{colon} {night} of {of} (reference {reference}), {deviations}"


def describe_reference(drift: NightDrift) -> str:
    """What a night was compared with, such as `the 30 nights before it (29,870 scans)` or `run 17 (112,120 scans)`."""
    runs, scans = drift.reference_runs, counted(drift.reference_scans, "scan")
    name = f"run {runs[0]}" if len(runs) == 1 else f"the {len(runs)} nights before it"
    return f"{name} ({scans})"


def describe_drift(drift: NightDrift, *, name_manufacturer: bool) -> str:
    """Whether a night drifted, by what, what to do, and what was not compared: one line."""
    if drift.largest is None:
        return f"Drift is not judged: {drift.not_judged}"
    shift = describe_shift(drift.largest, name_manufacturer=name_manufacturer)
    night = f"night {drift.night}" if drift.night else f"run {drift.run_id}"
    reference, p_value = describe_reference(drift), format_p_value(drift.p_value)
    shift += f", p {p_value}." if p_value.startswith("<=") else f", p = {p_value}."
    sentences = (
        (f"{ALARM}: {night} differs from {reference}: {shift}", look_at(drift))
        if drift.is_alarm
        else (f"Drift: no alarm. Nothing shows that {night} differs from {reference}.", f"Its largest shift is {shift}")
    )
    return " ".join(filter(None, (*sentences, _not_compared(drift))))


def _not_compared(drift: NightDrift) -> str:
    """The kinds of groups that are left out, as a sentence; empty if there are none."""
    kinds = ", ".join(drift.not_compared)
    return f"Not compared, because nothing is known of it in the reference: {kinds}." if kinds else ""


def look_at(drift: NightDrift) -> str:
    """What a person does after an alarm, as a sentence; empty for a night that is not judged."""
    if drift.largest is None:
        return ""
    new, new_outcomes = (" --new", " (tick 'New outcomes')") if drift.night else ("", "")
    sentence = _LOOK_AT.get(drift.largest.kind, _LOOK_AT_SOURCE)
    return sentence.format(run_id=drift.run_id, new=new, new_outcomes=new_outcomes)


def _is_rounded_to_end(share: float | None, digits: int) -> bool:
    """Whether a share is neither 0 nor 1, but would be shown as if it were."""
    return share is not None and share not in {0, 1} and round(share, digits + 2) in {0, 1}
