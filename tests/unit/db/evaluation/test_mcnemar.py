"""McNemar's test by patient."""

import numpy as np
import pytest

from db.evaluation.mcnemar import mcnemar


def test_with_one_scan_a_patient_it_is_mcnemars_own():
    """(b - c)^2 / (b + c) on one degree of freedom, by scipy; 30 against 14, and any unchanged patients."""
    from scipy.stats import chi2

    surplus = np.repeat([1, -1, 0], [30, 14, 500])
    assert mcnemar(surplus) == pytest.approx(chi2.sf((30 - 14) ** 2 / (30 + 14), 1))


def test_copies_of_a_patients_scans_add_no_knowledge():
    """Ten copies of each scan give the same p."""
    surplus = np.repeat([1, -1, 0], [30, 14, 500])
    assert mcnemar(surplus * 10) == pytest.approx(mcnemar(surplus))


@pytest.mark.parametrize(("patients", "given"), [(4, False), (5, True)])
def test_fewer_than_five_patients_have_no_p(patients, given):
    """However many scans of theirs changed."""
    assert (mcnemar(np.repeat([90, 0], [patients, 50])) is not None) == given
