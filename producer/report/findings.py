"""The findings that a person names: the main one of a report, and those whose prevalence is stated."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from db.errors import UserError
from db.findings import ABNORMAL, column_of


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
    return _find(shown, wanted, "--finding")


def choose_prevalences(judged: Sequence[str] | None, wanted: Mapping[str, float]) -> dict[str, float]:
    """The prevalences that a person states, by the finding's own name.

    Args:
        judged: the findings that the label set judges; None without a label set.
        wanted: by name as a person writes it, see `choose_finding`; in (0, 1).

    Raises:
        UserError: a finding is not judged, or there is no label set.
    """
    if wanted and judged is None:
        raise UserError(
            "--prevalence: the run has no labels, so it has no precision either; name a label set with --labels"
        )
    return {_find(judged or (), name, "--prevalence"): share for name, share in wanted.items()}


def _find(shown: Sequence[str], wanted: str, flag: str) -> str:
    known = {column_of(name): name for name in shown}
    key = column_of(wanted.strip())
    if key in known:
        return known[key]
    near = [known[name] for name in get_close_matches(key, known)]
    raise UserError(f"{flag} {wanted!r}: there are no figures of it, but of {', '.join(near or shown) or 'none'}")
