"""What a worklist shows, as the address of its page says it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from urllib.parse import urlencode

from db.errors import UserError
from db.ledger import reviews
from db.schema.tables import PENDING, QUARANTINED, REJECTED, SCORED

DESCENDING: Final = "score"
ASCENDING: Final = "ascending"
BY_SCAN: Final = "scan"
SORTS: Final = (DESCENDING, ASCENDING, BY_SCAN)

#: Means that a label, a view or a sex is not known.
UNKNOWN: Final = "unknown"
LABELS: Final = ("1", "0", UNKNOWN)

CORRECT: Final = "correct"
WRONG: Final = "wrong"
VERDICTS: Final = (CORRECT, WRONG)
STATES: Final = (SCORED, REJECTED, QUARANTINED, PENDING)

#: A scan that nobody has reviewed.
NOT_REVIEWED: Final = "none"
REVIEWS: Final = (*reviews.VERDICTS, NOT_REVIEWED)

_YES_NO: Final = ("1", "0")
#: Texts of a CSV, such as a view, may be of any kind; longer ones are nobody's.
_MAX_TEXT: Final = 100
_MAX_AGE: Final = 1000.0
_MAX_DIGITS: Final = 9


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What an address means that does not say it."""

    finding: str
    #: By finding, in [0, 1].
    thresholds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class WorklistQuery:
    """Which scans of a run a worklist shows, in which order, and which page of them. None does not filter."""

    defaults: Defaults = field(compare=False, repr=False)
    #: The one whose score and label are meant.
    finding: str
    #: One of `SORTS`: by score, the highest first; by score, the lowest first; by scan id.
    sort: str = DESCENDING
    #: The lowest and the highest score, in [0, 1].
    low: float | None = None
    high: float | None = None
    #: One of `LABELS`: positive, negative, or not known.
    label: str | None = None
    #: One of `VERDICTS`: whether the prediction at the threshold is the label.
    verdict: str | None = None
    #: In [0, 1]; a score of at least this is a positive prediction.
    threshold: float
    #: One of `STATES`.
    state: str | None = None
    reason: str | None = None
    #: As the CSV has them, or `UNKNOWN`.
    view: str | None = None
    sex: str | None = None
    #: In years, both included.
    age_from: float | None = None
    age_to: float | None = None
    held_out: bool | None = None
    #: Only scans whose outcome no earlier run has: it may be of a scan that an earlier run has another outcome of.
    is_new: bool = False
    #: One of `REVIEWS`.
    review: str | None = None
    #: From 1.
    page: int = 1

    def address(self, **changes: Any) -> str:
        """The query string of this worklist with some fields changed, `""` for the default one.

        It names only what differs from the default. If anything but the page changes, the page is the first. A
        threshold that is the finding's default becomes that of the finding that is changed to.
        """
        return urlencode({name: _to_text(value) for name, value in _stated(self._changed(changes))})

    def path(self, below_runs: object, **changes: Any) -> str:
        """The address of a page of a run, such as `7/scans/4711`, with this worklist in its query string."""
        address = self.address(**changes)
        return f"/runs/{below_runs}" + (f"?{address}" if address else "")

    def _changed(self, changes: Mapping[str, Any]) -> "WorklistQuery":
        implied: dict[str, Any] = {} if set(changes) <= {"page"} else {"page": 1}
        thresholds = self.defaults.thresholds
        if self.threshold == thresholds[self.finding]:
            implied["threshold"] = thresholds[changes.get("finding", self.finding)]
        return replace(self, **implied | dict(changes))


def parse_query(
    params: Mapping[str, str], *, findings: Sequence[str], default_finding: str, default_threshold: Mapping[str, float]
) -> WorklistQuery:
    """Read a worklist's query from the parameters of an address. An empty one, as forms send them, is not given.

    Args:
        params: by name, the fields of `WorklistQuery`; others are left out.
        findings: those that the run's model scores.
        default_finding: one of them.
        default_threshold: by finding, each in [0, 1].

    Raises:
        UserError: a parameter has a value that it cannot have.
    """
    given = {
        name: parse(name, params[name].strip())
        for name, parse in {"finding": _one_of(findings), **_PARSERS}.items()
        if params.get(name, "").strip()
    }
    _check_order(given, "low", "high")
    _check_order(given, "age_from", "age_to")
    finding = given.pop("finding", default_finding)
    defaults = Defaults(finding=default_finding, thresholds=default_threshold)
    common = {"threshold": default_threshold[finding]}
    return WorklistQuery(defaults=defaults, finding=finding, **common | given)


def _stated(query: WorklistQuery) -> list[tuple[str, Any]]:
    """The fields that differ from their defaults, with their values."""
    defaults = {one.name: one.default for one in fields(query)}
    defaults |= {"finding": query.defaults.finding, "threshold": query.defaults.thresholds[query.finding]}
    values = ((name, getattr(query, name)) for name in defaults if name != "defaults")
    return [(name, value) for name, value in values if value != defaults[name]]


def _to_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _check_order(given: Mapping[str, Any], low: str, high: str) -> None:
    if given.get(low, -math.inf) > given.get(high, math.inf):
        raise UserError(f"{low}={given[low]} is above {high}={given[high]}; exchange them")


def _bad(name: str, text: str, remedy: str) -> UserError:
    # Cut: an address may be as long as a book.
    return UserError(f"{name}={text[:40]!r} is not possible: {remedy}")


def _one_of(values: Sequence[str]) -> Callable[[str, str], str]:
    def parse(name: str, text: str) -> str:
        if text not in values:
            raise _bad(name, text, f"give one of {', '.join(values)}")
        return text

    return parse


def _number_to(highest: float) -> Callable[[str, str], float]:
    def parse(name: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number <= highest:
            raise _bad(name, text, f"give a number from 0 to {highest:g}")
        # Not -0.0, which an address would show.
        return number + 0.0

    return parse


def _yes_no(name: str, text: str) -> bool:
    return _one_of(_YES_NO)(name, text) == "1"


def _free_text(name: str, text: str) -> str:
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise _bad(name, text, f"give at most {_MAX_TEXT} characters that can be printed")
    return text


def _page_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) > 0):
        raise _bad(name, text, "give a whole number from 1")
    return int(text)


_PARSERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "sort": _one_of(SORTS),
    "low": _number_to(1.0),
    "high": _number_to(1.0),
    "label": _one_of(LABELS),
    "verdict": _one_of(VERDICTS),
    "threshold": _number_to(1.0),
    "state": _one_of(STATES),
    "reason": _free_text,
    "view": _free_text,
    "sex": _free_text,
    "age_from": _number_to(_MAX_AGE),
    "age_to": _number_to(_MAX_AGE),
    "held_out": _yes_no,
    "is_new": _yes_no,
    "review": _one_of(REVIEWS),
    "page": _page_number,
}
