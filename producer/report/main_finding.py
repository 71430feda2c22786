"""The finding that a report shows at each threshold, and its chosen thresholds in as few digits as they need."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from db.errors import UserError
from db.findings import ABNORMAL, column_of
from db.metrics.formulas import ScoreArray


def choose_finding(shown: Sequence[str], wanted: str | None) -> str:
    """The main finding.

    Args:
        shown: the findings that the report has figures of.
        wanted: the finding that a person asks for; case does not matter, and a space means `_`. None means `Abnormal`,
            or the first finding if that is not shown.

    Raises:
        UserError: it is not shown; the message has the nearest names, or all of them if none is near.
    """
    if wanted is None:
        return ABNORMAL if ABNORMAL in shown else shown[0]
    known = {column_of(name): name for name in shown}
    key = column_of(wanted.strip())
    if key in known:
        return known[key]
    near = [known[name] for name in get_close_matches(key, known)]
    raise UserError(f"--finding {wanted!r}: the report has no figures of it, but of {', '.join(near or shown)}")


def round_threshold(threshold: float, scores: ScoreArray) -> float:
    """A threshold with as few decimals as leave the same scores at or above it, but with at least three.

    Args:
        threshold: in [0, 1].
        scores: (N,) in [0, 1], that the threshold divides.
    """
    above = np.count_nonzero(scores >= threshold)
    rounded = (round(threshold, digits) for digits in range(3, 17))
    return next((short for short in rounded if np.count_nonzero(scores >= short) == above), threshold)
