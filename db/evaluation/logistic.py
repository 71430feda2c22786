"""Logistic regression on few columns, by Newton's method."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MAX_STEPS: Final = 50
#: A step this small changes no printed digit.
_TOLERANCE: Final = 1e-10
#: Coefficients beyond this mean that a column separates the classes, so that no finite fit exists.
_MAX_COEFFICIENT: Final = 50.0


@dataclass(frozen=True, kw_only=True)
class LogisticFit:
    """The coefficients and what their influence is computed from."""

    #: (K,) float64.
    coefficients: NDArray[np.float64]
    #: (K, K) float64: the inverse of the information matrix.
    covariance: NDArray[np.float64]


def fit_logistic(
    columns: NDArray[np.float64],
    positives: NDArray[np.float64],
    totals: NDArray[np.float64],
    *,
    offset: NDArray[np.float64] | float = 0.0,
    ridge: NDArray[np.float64] | float = 0.0,
) -> LogisticFit | None:
    """Fit the log odds of being positive as a sum of columns; None if there is no finite fit.

    Source: McCullagh and Nelder, Generalized linear models (1989), section 4.4.

    Args:
        columns: (M, K) of M rows; a column of ones is the intercept.
        positives: (M,) the positives of each row.
        totals: (M,) the scans of each row.
        offset: (M,) log odds that are added as they are.
        ridge: (K,) the penalty on half the square of each coefficient.
    """
    beta = np.zeros(columns.shape[1])
    for _ in range(_MAX_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(offset + columns @ beta, -500, 500)))
        information = (columns.T * (totals * chance * (1 - chance))) @ columns + np.diag(
            np.broadcast_to(ridge, beta.shape)
        )
        slope = columns.T @ (positives - totals * chance) - ridge * beta
        try:
            step = np.linalg.solve(information, slope)
        except np.linalg.LinAlgError:
            return None
        beta = beta + step
        if not np.all(np.abs(beta) < _MAX_COEFFICIENT):
            return None
        if np.abs(step).max() < _TOLERANCE:
            return LogisticFit(coefficients=beta, covariance=np.asarray(np.linalg.inv(information), np.float64))
    return None
