"""Reads the scans that two runs have both scored, as two cohorts of the same scans."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Cohort, Mask


@dataclass(frozen=True, kw_only=True)
class RunPair:
    """N scans that both runs scored, in the order of their ids."""

    #: (N,) ascending.
    scan_ids: NDArray[np.int64]
    #: Both have the findings that both models score, and the same patients; labels are those of each one's label set.
    first: Cohort
    second: Cohort
    #: (N,) bool: either model has seen the scan or its patient.
    seen: Mask
