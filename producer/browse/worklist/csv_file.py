"""A worklist as a CSV file, all pages of it."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from datetime import datetime
from io import StringIO
from typing import Any, Final

from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.ledger.runs import RunInfo
from producer.browse.worklist.query import WorklistQuery
from producer.browse.worklist.rows import WorklistRow, read_rows

#: The columns: those of a page's row, what its score is of, the prediction, and what a person said of the scan.
CSV_COLUMNS: Final = (
    *(one.name for one in fields(WorklistRow)),
    *("run_id", "model", "finding", "threshold", "prediction", "review"),
)
_ROWS_AT_A_TIME: Final = 1_000


def stream_csv(
    engine: Engine, run: RunInfo, scan_ids: Sequence[int], query: WorklistQuery, reviews: Mapping[int, str]
) -> Iterator[bytes]:
    """The rows of scans as UTF-8 CSV, some at a time, with a first line of column names.

    Values are written as `producer export` writes them. Each part is read in a transaction of its own, so a slow reader
    keeps none open: a scan that is forgotten meanwhile is left out.

    Args:
        engine: only reads.
        run: the run.
        scan_ids: in the order of the rows.
        query: its finding is the one whose score and label the rows have; its threshold predicts, 1 or 0.
        reviews: the latest verdict of each reviewed scan.
    """
    yield _to_csv([CSV_COLUMNS])
    for start in range(0, len(scan_ids), _ROWS_AT_A_TIME):
        with read_transaction(engine) as connection:
            rows = read_rows(connection, run.id, scan_ids[start : start + _ROWS_AT_A_TIME], query.finding)
        yield _to_csv(
            [[*map(_cell, astuple(row)), *_context(row, run, query), reviews.get(row.scan_id)] for row in rows]
        )


def _context(row: WorklistRow, run: RunInfo, query: WorklistQuery) -> tuple[Any, ...]:
    prediction = None if row.score is None else int(row.score >= query.threshold)
    return run.id, run.model, query.finding, query.threshold, prediction


def _to_csv(rows: Sequence[Sequence[Any]]) -> bytes:
    buffer = StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
