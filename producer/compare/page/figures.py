"""What the page draws and lists beside the figures of a comparison."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any, Final

from db.evaluation.comparison import Difference, FindingComparison
from db.evaluation.estimate import Estimate
from db.evaluation.run_pair import RunPair
from producer.compare.files import changed_scans
from producer.compare.page.joint_scores import JointScores, draw_joint_scores
from producer.report.page.scale import Scale

#: Scans listed of those whose prediction changed.
LISTED: Final = 20
#: Of the forest plot, in pixels.
_LEFT: Final = 112
_RIGHT: Final = 244
#: A single wide interval would press all others together: it is cut at this multiple of what is usual, and an arrow
#: shows that.
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
    """The axis of differences, with 0 in its middle, so that either half is one model's. It holds every value."""
    shown = [one.difference for one in differences]
    values = [abs(one.value) for one in shown if one.value is not None]
    ends = [max(-one.low, one.high) for one in shown if one.low is not None and one.high is not None]
    widest = min(max(ends), _CUT * median(ends)) if ends else 0.0
    reach = max(widest, *values, _SMALLEST_REACH)
    return Scale(low=-reach, high=reach, start=_LEFT, end=_RIGHT)


def is_cut(difference: Estimate, scale: Scale) -> bool:
    """Whether the axis ends within the interval."""
    if difference.low is None or difference.high is None:
        return False
    return difference.low < scale.low or difference.high > scale.high
