"""How labels belong to label sets, and what the names of label sets mean.

The label sets of one name are a series. A label is one row from the label set that it begins with to the one that it
ends with: a CSV that grows every day adds only what is new, and each earlier label set keeps what its own file said.
"""

import re
from typing import Final

from sqlalchemy import ColumnElement, or_

from db.schema.tables import Label, LabelSet

#: `NAME@HASH`: one label set of a name, by the beginning of its file's sha256.
EXACT_NAME: Final = re.compile(r"(?P<name>.+)@(?P<hash>[0-9a-f]{8,64})", re.DOTALL)
_HASH_DIGITS: Final = 8


def exact_name(name: str, sha256: str) -> str:
    """The name by which `producer report --labels` finds one label set, whatever is imported under its name later."""
    return f"{name}@{sha256[:_HASH_DIGITS]}"


def is_label_of(label_set: type[LabelSet] = LabelSet, label: type[Label] = Label) -> ColumnElement[bool]:
    """Whether a row of `labels` belongs to a row of `label_sets`. Both may be aliased."""
    is_in_series = (label.series_id == label_set.series_id) & (label.since_id <= label_set.id)
    return is_in_series & or_(label.until_id.is_(None), label.until_id > label_set.id)
