"""McNemar's test on clusters: whether something holds equally often under both of two conditions."""

from math import erfc, sqrt

import numpy as np

from db.evaluation.cohort import MIN_OF_EACH_CLASS, Numbers


def mcnemar(surplus: Numbers) -> float | None:
    """The two-sided p of McNemar's test by patient; None if fewer than five patients have a surplus.

    The square of the sum over the sum of squares is chi-square with one degree of freedom, because a patient's surplus
    is as likely to be negative if both conditions are alike. With one scan a patient this is McNemar's own. Source:
    Yang, Sun and Hardin, A note on the tests for clustered matched-pair binary data, Biometrical Journal 52 (2010).

    Args:
        surplus: (P,) of each patient, the scans for which it holds under the first condition alone less those under the
            second alone.
    """
    if np.count_nonzero(surplus) < MIN_OF_EACH_CLASS:
        return None
    total, squares = int(surplus.sum()), int(surplus @ surplus)
    return erfc(abs(total) / sqrt(2 * squares))
