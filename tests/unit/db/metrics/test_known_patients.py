"""For how many scans held out by patient can be told, in words that are decided here alone."""

import pytest

from db.metrics.known_patients import count_known_patients

CANNOT = "Held out by patient cannot be told"
FITTED = "1 of the 3 scans that the model was fitted or tuned on have no patient id"


@pytest.mark.parametrize(("fitted", "which"), [([], "which scans"), (["1", None], "which other scans")])
def test_nothing_is_held_out_where_nobody_knows_what_the_model_was_fitted_on(fitted, which):
    """Whatever the patients tell: a base model may have seen any scan, even if the fit after it lists its own."""
    known = count_known_patients(["1", "2"], fitted, fitted_scans_unknown=True)
    assert (known.can_tell_held_out, known.note) == (
        False,
        f"Held out: unknown. Nobody knows {which} the model was fitted on, so the figures may flatter it.",
    )


@pytest.mark.parametrize(
    ("scans", "fitted", "can_tell", "note"),
    [
        (["1", "2"], ["3"], True, None),
        ([None, None], ["3"], False, f"{CANNOT}: no scan has a patient id."),
        (["1"], [None], False, f"{CANNOT}: no scan that the model was fitted or tuned on has a patient id."),
        (["1"], [], False, f"{CANNOT}: no scan that the model was fitted or tuned on has a patient id."),
        (["1", None, None], ["3"], True, f"{CANNOT} for all scans: 2 of the 3 scans have no patient id."),
        (
            ["1", None],
            ["3", "3", None],
            True,
            f"{CANNOT} for all scans: 1 of the 2 scans have no patient id and {FITTED}.",
        ),
    ],
)
def test_the_note_says_for_which_scans_no_patient_is_known(scans, fitted, can_tell, note):
    """Only where both sides name some patient can figures be called held out."""
    known = count_known_patients(scans, fitted)
    assert (known.can_tell_held_out, known.note) == (can_tell, note)
