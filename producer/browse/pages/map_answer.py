"""What a page is told of a class activation map."""

import math
from typing import TYPE_CHECKING, Any

from db.ledger.scan_details import ScanDetails
from producer.browse.pages.scan_scores import ScoreRow

if TYPE_CHECKING:
    from worker.scoring.activation_map import ActivationMaps


def map_answer(maps: "ActivationMaps", row: ScoreRow, scan: ScanDetails) -> dict[str, Any]:
    """The map of one finding, the figures that it adds up to, and the score that the run recorded.

    Args:
        maps: of all findings of the scan.
        row: the finding.
        scan: what the run recorded.

    Returns:
        For JSON: `cells` as rows from the top, `mean`, `bias`, `logit` and `score` of this pass, `recorded` with its
        `precision` and `runtime`, and whether the map `agrees` with the logit, up to the relative `error`. A figure
        that is not finite is None, and a map that does not agree has no cells.
    """
    at = maps.findings.index(row.finding)
    cells = maps.cells[at]
    return {
        "finding": row.finding,
        "cells": cells.tolist() if maps.agrees else [],
        "mean": _finite(cells.mean()),
        "bias": _finite(maps.bias[at]),
        "logit": _finite(maps.logits[at]),
        "score": _finite(maps.scores[at]),
        "recorded": row.score,
        "precision": scan.precision,
        "runtime": scan.runtime,
        "error": _finite(maps.errors[at]),
        "agrees": maps.agrees,
    }


def _finite(value: float) -> float | None:
    # JSON has no other numbers.
    return float(value) if math.isfinite(value) else None
