"""How far a finding's scores of a night are from those of its reference, as figures that no alarm rests on."""

from math import log
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from db.drift.night import ScoreShift

Scores = NDArray[np.float64]

_PARTS: Final = 10
#: How many scans an empty bin counts as, because a share of 0 has no logarithm. Source: Haldane, The estimation and
#: significance of the logarithm of a ratio of frequencies, Annals of Human Genetics 20 (1956).
_EMPTY: Final = 0.5


def score_shift(finding: str, night: Scores, reference: Scores) -> ScoreShift:
    """Compare a finding's scores, (N,) and (M,) without NaN."""
    both = len(night) > 0 and len(reference) > 0
    return ScoreShift(
        finding=finding,
        night_mean=float(night.mean()) if len(night) else None,
        reference_mean=float(reference.mean()) if len(reference) else None,
        kolmogorov_smirnov=kolmogorov_smirnov(night, reference) if both else None,
        population_stability_index=population_stability_index(night, reference) if both else None,
    )


def decile_cuts(scores: Scores) -> Scores:
    """Up to 9 ascending scores that part (N,) scores into tenths; scores equal to a cut lie above it.

    Scores of which many are equal have fewer cuts, and scores that are all equal have none. No cut is the least score,
    because all scores lie at or above that one.
    """
    if not len(scores):
        return scores
    ascending = np.sort(scores)
    above_least = np.searchsorted(ascending, ascending[:1], "right")
    places = np.maximum(np.arange(1, _PARTS) * len(scores) // _PARTS, above_least)
    return np.unique(ascending[places[places < len(scores)]])


def kolmogorov_smirnov(night: Scores, reference: Scores) -> float:
    """The largest difference between the shares of scans up to a score, in [0, 1].

    The share of the night's scans steps at its own scores alone, and that of the reference never falls. So the
    difference is largest at a score of the night, or just below one.
    """
    night, reference = np.sort(night), np.sort(reference)
    at = _shares_up_to(night, night, "right") - _shares_up_to(reference, night, "right")
    below = _shares_up_to(night, night, "left") - _shares_up_to(reference, night, "left")
    return float(max(at.max(), -below.min()))


def population_stability_index(night: Scores, reference: Scores) -> float | None:
    """The sum over tenths of the reference of (a - b) ln(a / b), a and b being the shares of scans; at least 0.

    None if all scores of the reference are equal, because these have no tenths.

    A tenth without a scan of the night counts as half a scan. Source: Yurdakul and Naranjo, Statistical properties of
    the population stability index, Journal of Risk Model Validation 14 (2020).
    """
    cuts = decile_cuts(reference)
    if not len(cuts):
        return None
    counts = (
        np.bincount(np.searchsorted(cuts, scores, "right"), minlength=len(cuts) + 1) for scores in (night, reference)
    )
    shares = [np.maximum(count, _EMPTY) / count.sum() for count in counts]
    return float(sum((a - b) * log(a / b) for a, b in zip(*shares, strict=True)))


def _shares_up_to(ascending: Scores, scores: Scores, side: Literal["left", "right"]) -> Scores:
    places = np.searchsorted(ascending, scores, side)
    return np.asarray(places / len(ascending), np.float64)
