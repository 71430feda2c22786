"""Results as JSON, the same way wherever one is printed or written."""

import json
from datetime import datetime


def as_json(value: object) -> str:
    """One JSON value: undefined is null, moments are ISO 8601, names stay as they are spelled."""
    return json.dumps(value, indent=2, default=_moment, allow_nan=False, ensure_ascii=False)


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
