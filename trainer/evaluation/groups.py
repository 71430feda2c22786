"""Groups of scans: by patient, and by sex, age and view."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from db.labels.csv_file import LabelRow

#: Upper ends of age bands in years, exclusive, and the bands' names.
_AGE_BANDS: Final = ((18, "0-17"), (40, "18-39"), (60, "40-59"), (80, "60-79"), (np.inf, "80+"))
_UNKNOWN: Final = "unknown"


def patients_of(rows: Sequence[LabelRow]) -> list[str]:
    """A key of each row's patient; a scan without a patient has a key of its own."""
    return [row.image_name if row.patient_id is None else f"patient {row.patient_id}" for row in rows]


def _age_band(row: LabelRow) -> str:
    if row.age_years is None:
        return _UNKNOWN
    return next(name for end, name in _AGE_BANDS if row.age_years < end)


#: Kind of group to the function that names a row's group.
GROUPINGS: Final[dict[str, Callable[[LabelRow], str]]] = {
    "sex": lambda row: row.sex or _UNKNOWN,
    "age": _age_band,
    "view": lambda row: row.view or _UNKNOWN,
}
