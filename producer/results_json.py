"""Formats scans and reviews as JSON, one object a line: docs/results.md names every field.

The format is public interface. Later versions may add fields; what a field means changes only with `FORMAT`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from db.findings import column_of
from db.ledger.models import ModelInfo
from db.schema.tables import SCORED

FORMAT: Final = 1
#: Stands in every line, because lines are stored and passed on one by one.
PURPOSE: Final = "research only, not for diagnosis"
#: Columns of `results_wide` that keep their names.
_SCAN: Final = ("sop_instance_uid", "dataset", "image_name", "location", "patient_id", "view", "run_id", "scan_id")
_OUTCOME: Final = ("revision", "state", "reason", "detail")

#: Thresholds by finding and by name.
Thresholds: TypeAlias = Mapping[str, Mapping[str, float]]


def format_lines(scans: Iterable[Mapping[str, Any]], model: ModelInfo, thresholds: Thresholds) -> Iterator[str]:
    """Each scan as a line of JSON, with its end of line.

    Args:
        scans: rows of `results_wide`, as `producer.results_export.to_columns` gives their values.
        model: of the run.
        thresholds: the model's own.
    """
    for scan in scans:
        yield _line(_describe(scan, model, thresholds))


def format_reviews(reviews: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Each review as a line of JSON, with its end of line: the columns of the view, with moments in ISO 8601."""
    for review in reviews:
        yield _line({name: _moment(value) if isinstance(value, datetime) else value for name, value in review.items()})


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"


def _moment(value: datetime) -> str:
    return value.isoformat(timespec="microseconds")


def _describe(scan: Mapping[str, Any], model: ModelInfo, thresholds: Thresholds) -> dict[str, Any]:
    is_scored, scored_at, notes = scan["state"] == SCORED, scan["scored_at"], scan["notes"]
    return {
        "format": FORMAT,
        "purpose": PURPOSE,
        **{name: scan[name] for name in _SCAN},
        "model": {
            "name": model.name,
            "sha256": model.sha256,
            "export_sha256": scan["export_sha256"],
            "synthetic": model.synthetic,
        },
        **{name: scan[name] for name in _OUTCOME},
        "notes": notes.split(",") if notes else [],
        "scores": {finding: scan[column_of(finding)] for finding in model.findings} if is_scored else None,
        "thresholds": thresholds if is_scored else None,
        "runtime": scan["runtime"],
        "precision": scan["precision"],
        "scored_at": scored_at and _moment(scored_at),
    }
