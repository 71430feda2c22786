"""Formats figures, on the terminal, on the page and in the model card alike."""

from typing import Final

from db.evaluation.estimate import Estimate

#: Shown in place of an undefined figure.
UNDEFINED: Final = "–"
_THRESHOLD_NAMES: Final = {"best_f1": "best F1", "youden": "Youden"}
#: As many digits as a float has.
_MAX_DIGITS: Final = 17


def format_rate(value: float | None) -> str:
    """A figure with three decimals; undefined is a dash, never 0."""
    # Without the sum, what rounds to 0 from below would be -0.000.
    return UNDEFINED if value is None else f"{round(value, 3) + 0.0:.3f}"


def format_interval(estimate: Estimate) -> str:
    """`0.872 to 0.933`; `-` without an interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{format_rate(estimate.low)} to {format_rate(estimate.high)}"


def format_estimate(estimate: Estimate) -> str:
    """`0.906 (0.872 to 0.933)`; without an interval `0.906 (-)`; a dash if it is undefined."""
    if estimate.value is None:
        return UNDEFINED
    return f"{format_rate(estimate.value)} ({format_interval(estimate)})"


def format_threshold(threshold: float) -> str:
    """A threshold as people write it, such as `0.3`; of one with many digits three decimals.

    It has more decimals if these would be 0 or 1, at which no other threshold has the same predictions.
    """
    if f"{threshold:g}" == f"{threshold!r}".removesuffix(".0"):
        return f"{threshold:g}"
    texts = (f"{threshold:.{digits}f}" for digits in range(3, _MAX_DIGITS + 1))
    return next((text for text in texts if 0 < float(text) < 1), repr(threshold))


def name_threshold(chosen_by: str) -> str:
    """The name of a threshold of the model's own in words, such as `best F1` or `sensitivity 90`."""
    return _THRESHOLD_NAMES.get(chosen_by, chosen_by.replace("_", " "))
