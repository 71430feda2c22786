"""Chooses the threshold at which each model predicts."""

from collections.abc import Mapping, Sequence
from typing import Final

from db.errors import UserError
from db.evaluation.evaluate import GIVEN
from db.findings import column_of

#: The name of a threshold that nobody chose, and where it is.
DEFAULT: Final = "default"
_DEFAULT_THRESHOLD: Final = 0.5
#: The name of the threshold of a model's own that comes first.
_YOUDEN: Final = "youden"


def choose_thresholds(
    own: Mapping[str, Mapping[str, float]], findings: Sequence[str], wanted: str | None, model: str
) -> dict[str, tuple[str, float]]:
    """Choose the threshold of each finding of a model, and name it.

    Args:
        own: the model's thresholds by finding and name.
        findings: those that are compared.
        wanted: a number, the name of a threshold, or None: `youden`, or else the first. A finding that lacks the name
            has the threshold that it has if none is wanted.
        model: its name.

    Raises:
        UserError: the number is not in [0, 1], or no finding has a threshold of that name.
    """
    number = _parse_threshold(wanted)
    if number is not None:
        return dict.fromkeys(findings, (GIVEN, number))
    names = dict.fromkeys(name for finding in findings for name in own.get(finding, {}))
    name = _YOUDEN if wanted is None else column_of(wanted.strip())
    if wanted is not None and name not in names:
        there = f"has {', '.join(names)}" if names else "has no threshold of its own"
        raise UserError(f"--threshold {wanted}: model {model} {there}; name one of both models, or a number")
    return {finding: _first_of(own.get(finding, {}), (name, _YOUDEN)) for finding in findings}


def _parse_threshold(wanted: str | None) -> float | None:
    """The number that is wanted; None if a name is, or nothing."""
    try:
        number = float(wanted or "")
    except ValueError:
        return None
    if not 0 <= number <= 1:
        raise UserError(f"--threshold {wanted}: write a number from 0 to 1, or the name of a threshold of the models")
    return number


def _first_of(own: Mapping[str, float], preferred: Sequence[str]) -> tuple[str, float]:
    """The first threshold of the preferred names, or else the first one; 0.5 if there is none."""
    named = [(name, own[name]) for name in preferred if name in own]
    return next(iter([*named, *own.items()]), (DEFAULT, _DEFAULT_THRESHOLD))
