"""Names the views of a fit's scans, from the words of labels CSVs."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

#: By the words of View Position in DICOM and in public data sets; further words, such as `AP_horizontal`'s, follow.
_VIEWS: Final[Mapping[str, str]] = {
    **{view: view for view in ("AP", "FRONTAL", "PA")},
    **dict.fromkeys(("LATERAL", "LAT", "L", "LL", "RL", "LLAT", "RLAT"), "LATERAL"),
}
_WORD: Final = re.compile(r"[A-Z]+")


def known_views(views: Iterable[str | None]) -> tuple[str, ...]:
    """The distinct views of some scans, `AP`, `FRONTAL`, `LATERAL` and `PA`; () if that of any scan is unknown.

    A model is one of frontal views only if it is known that it has seen no other.
    """
    named = {_named(view) for view in set(views)}
    return tuple(sorted(view for view in named if view)) if None not in named else ()


def _named(view: str | None) -> str | None:
    words = _WORD.findall((view or "").upper())
    found = {_VIEWS[word] for word in words if word in _VIEWS}
    return found.pop() if len(found) == 1 else None
