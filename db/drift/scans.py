"""The scans that drift is judged by, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Numbers

#: What a scan's outcome is called that was scored; the others have the code of their reason.
SCORED: Final = "scored"


@dataclass(frozen=True, kw_only=True)
class Names:
    """A name for each of N scans, of which most are equal."""

    names: tuple[str, ...]
    #: (N,) places in `names`.
    places: Numbers


@dataclass(frozen=True, kw_only=True)
class DecidedScans:
    """N scans that have an outcome: scored, or rejected or quarantined for a reason. Cancelled ones are left out."""

    findings: tuple[str, ...]
    #: (N,) the run in which each scan was decided.
    runs: Numbers
    #: (N,) a number for each patient. A scan without a patient id has a number of its own.
    patients: Numbers
    #: (N, F) float64 in [0, 1]; NaN where the scan has no score.
    scores: NDArray[np.float64]
    #: `SCORED`, or why it was not.
    outcomes: Names
    #: By kind (`view`, `sex`, `age`, `manufacturer`), the group as `view_group`, `sex_group` and `age_band` of
    #: `db.evaluation.cohort` name it; of manufacturers, any name or `unknown`.
    groups: Mapping[str, Names]
