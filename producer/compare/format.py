"""Formats differences and p values, on the terminal and on the page alike."""

from typing import Final

from db.evaluation.estimate import Estimate
from db.evaluation.format import UNDEFINED

#: Below it, an interval of 95% leaves out no difference.
SIGNIFICANT: Final = 0.05
_SMALLEST_P: Final = 0.001
#: As many as tell any p that is below 0.05 from 0.05.
_MAX_DIGITS: Final = 17
#: Of a difference: the usual decimals, and those that show which side of 0 it is on.
_DECIMALS: Final = range(3, 6)


def format_change(value: float | None) -> str:
    """A difference with its sign and three decimals, such as `+0.012`; undefined is a dash, never 0.

    It has up to five decimals if fewer would be 0, so that it shows on which side of 0 it is; only 0 has no sign.
    """
    if value is None:
        return UNDEFINED
    if not value:
        return f"{0:.3f}"
    texts = [f"{value:+.{digits}f}" for digits in _DECIMALS]
    return next((text for text in texts if float(text)), texts[0])


def format_range(low: float | None, high: float | None) -> str:
    """`-0.003 to +0.027`; `-` if there is none."""
    return "-" if low is None or high is None else f"{format_change(low)} to {format_change(high)}"


def format_difference(difference: Estimate) -> str:
    """`+0.012 (-0.003 to +0.027)`; without an interval `+0.012 (-)`; a dash if it is undefined."""
    if difference.value is None:
        return UNDEFINED
    return f"{format_change(difference.value)} ({format_range(difference.low, difference.high)})"


def format_p(p_value: float | None) -> str:
    """A p value with three decimals, `<0.001` below that; a dash if there is none.

    It has more decimals if these would be 0.050, so that what is shown is below 0.05 exactly where p is.
    """
    if p_value is None:
        return UNDEFINED
    if p_value < _SMALLEST_P:
        return f"<{_SMALLEST_P}"
    texts = (f"{p_value:.{digits}f}" for digits in range(3, _MAX_DIGITS + 1))
    return next((text for text in texts if (float(text) < SIGNIFICANT) == (p_value < SIGNIFICANT)), repr(p_value))
