"""The rows of a page of a worklist, read live from the view `results_wide`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from db.findings import column_of
from db.ledger.results import stream_view
from producer.results_export import to_columns

PAGE_ROWS: Final = 50
_COLUMNS: Final = (
    *("scan_id", "dataset", "image_name", "patient_id", "view", "sex", "age_years", "state", "reason", "detail"),
    *("notes", "held_out", "reused", "location", "scored_at"),
)


@dataclass(frozen=True, kw_only=True)
class WorklistRow:
    """A scan of a run, with its score and label of one finding. None is not known."""

    scan_id: int
    dataset: str
    image_name: str
    patient_id: str | None
    view: str | None
    sex: str | None
    age_years: float | None
    #: `scored`, `rejected`, `quarantined` or `pending`.
    state: str
    reason: str | None
    detail: str | None
    #: Codes of what is unusual about the image, joined by `,`.
    notes: str | None
    #: In [0, 1].
    score: float | None
    label: int | None
    held_out: bool | None
    #: The outcome existed before the run was opened.
    reused: bool
    location: str | None
    #: In UTC.
    scored_at: datetime | None


def read_rows(connection: Connection, run_id: int, scan_ids: Sequence[int], finding: str) -> list[WorklistRow]:
    """Read the rows of some scans, in their order. A scan that the run does not have any more is left out.

    Args:
        connection: only reads.
        run_id: the run.
        scan_ids: each once; at most a few thousand.
        finding: one of `db.findings.FINDINGS`.
    """
    score = column_of(finding)
    columns = (*_COLUMNS, f"{score} AS score", f"{score}_label AS label")
    ids = tuple(map(int, scan_ids))
    where = {"run_id": run_id, "scan_id": ids}
    names, pages = stream_view(
        connection, "results_wide", where=where, order_by=("scan_id",), page_rows=max(1, len(ids)), columns=columns
    )
    rows = {row.scan_id: row for page in pages for row in _to_rows(names, page)}
    return [rows[scan_id] for scan_id in ids if scan_id in rows]


def _to_rows(names: Sequence[str], page: Sequence[Sequence[object]]) -> list[WorklistRow]:
    records = (dict(zip(names, values, strict=True)) for values in zip(*to_columns(names, page), strict=True))
    return [WorklistRow(**one | {"held_out": _yes_or_no(one["held_out"])}) for one in records]


def _yes_or_no(value: int | None) -> bool | None:
    return None if value is None else bool(value)
