"""What the page draws and lists beside the figures of a comparison."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any, Final

from db.evaluation.comparison import Difference, FindingComparison
from db.evaluation.run_pair import RunPair
from producer.compare.files import changed_scans
from producer.compare.format import SIGNIFICANT
from producer.compare.page.joint_scores import JointScores, draw_joint_scores
from producer.report.page.scale import Scale

#: Scans listed of those whose prediction changed.
LISTED: Final = 20
#: Of the forest plot, in pixels.
_LEFT: Final = 112
_RIGHT: Final = 244
#: A single wide interval would press all others together: it is cut at this multiple of what is usual.
_CUT: Final = 3
_SMALLEST_REACH: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class FindingFigures:
    """A finding's figures, its picture, and the first scans whose prediction changed."""

    name: str
    compared: FindingComparison
    picture: JointScores
    #: Scan id, both scores and both labels (0, 1 or None), see `changed_scans`.
    changed: tuple[tuple[Any, ...], ...]


def figures_of(name: str, compared: FindingComparison, pair: RunPair) -> FindingFigures:
    """Draw and list what the page shows of a finding.

    Args:
        name: of the finding.
        compared: its comparison.
        pair: the scans that it is of.
    """
    first, second = (cohort.scores[:, cohort.findings.index(name)] for cohort in (pair.first, pair.second))
    limits = (compared.agreement.low, compared.agreement.high)
    return FindingFigures(
        name=name,
        compared=compared,
        picture=draw_joint_scores(first, second, limits),
        changed=tuple(islice(changed_scans(pair, name, compared.changed), LISTED)),
    )


def forest_scale(differences: Iterable[Difference]) -> Scale:
    """The axis of differences, with 0 in its middle, so that either half is one model's."""
    furthest = [
        max(abs(end) for end in (one.difference.value, one.difference.low, one.difference.high) if end is not None)
        for one in differences
        if one.difference.value is not None
    ]
    reach = max(min(max(furthest), _CUT * median(furthest)), _SMALLEST_REACH) if furthest else _SMALLEST_REACH
    return Scale(low=-reach, high=reach, start=_LEFT, end=_RIGHT)


def better(difference: Difference, *, lower_is_better: bool = False) -> str:
    """Which model is better beyond chance: `first` or `second`; empty if that is not shown."""
    value, p_value = difference.difference.value, difference.p_value
    if value is None or p_value is None or p_value >= SIGNIFICANT:
        return ""
    return "second" if (value > 0) != lower_is_better else "first"
