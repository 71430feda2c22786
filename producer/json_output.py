"""Formats results as JSON, whether they are printed, written to a file or sent."""

import json
from datetime import datetime


def as_json(value: object) -> str:
    """A JSON document: None is null, moments are ISO 8601, names are not escaped to ASCII.

    Raises:
        TypeError: a value has no form in JSON.
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, indent=2, default=_moment_as_text, allow_nan=False, ensure_ascii=False)


def _moment_as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
