"""Logistic regression on few columns, by Newton's method."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_MAX_STEPS: Final = 100
#: Newton's method leaves the region where it converges if scores are extreme and a step is longer than this.
_MAX_STEP: Final = 5.0
#: A step this small changes no printed digit.
_TOLERANCE: Final = 1e-10
#: Coefficients beyond this mean that a column separates the classes, so that no finite fit exists.
_MAX_COEFFICIENT: Final = 50.0


def fit_logistic(
    columns: NDArray[np.float64],
    positives: NDArray[np.float64],
    totals: NDArray[np.float64],
    *,
    offset: NDArray[np.float64] | float = 0.0,
    ridge: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64] | None:
    """Fit the log odds of being positive as a sum of columns: the coefficients (K,). None if there is no finite fit.

    Source: McCullagh and Nelder, Generalized linear models (1989), section 4.4.

    Args:
        columns: (M, K) of M rows; a column of ones is the intercept.
        positives: (M,) the positives of each row.
        totals: (M,) the scans of each row.
        offset: (M,) log odds that are added as they are.
        ridge: (K,) the penalty on half the square of each coefficient.
    """
    # Products by einsum: BLAS would start threads for them, which take longer than the work.
    terms = np.ascontiguousarray(columns.T)
    beta: NDArray[np.float64] = np.zeros(len(terms))
    penalties = np.broadcast_to(ridge, beta.shape)
    for _ in range(_MAX_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(offset + np.einsum("k,km->m", beta, terms), -500, 500)))
        weighted = terms * (totals * chance * (1 - chance))
        information = np.einsum("km,lm->kl", weighted, terms) + np.diag(penalties)
        slope = np.einsum("km,m->k", terms, positives - totals * chance) - penalties * beta
        try:
            step = np.linalg.solve(information, slope)
        except np.linalg.LinAlgError:
            return None
        longest = np.abs(step).max()
        beta = beta + step * min(1.0, _MAX_STEP / max(longest, _TOLERANCE))
        if not np.all(np.abs(beta) < _MAX_COEFFICIENT):
            return None
        if longest < _TOLERANCE:
            return beta
    return None
