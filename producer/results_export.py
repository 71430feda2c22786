"""Writes a run's results as a table, as the views show them: CSV or Parquet, streamed."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection, text

from db.errors import UserError
from db.findings import FINDINGS, column_of
from worker.files import open_atomically

TEXT: Final = "text"
NUMBER: Final = "number"
WHOLE: Final = "whole"
FLAG: Final = "flag"
MOMENT: Final = "moment"

#: What each column of `results` and `results_wide` holds; one that is not here is written as text.
KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("dataset", "image_name", "patient_id", "view", "sex", "finding"), TEXT),
    **dict.fromkeys(("state", "reason", "detail", "model", "label_set", "runtime", "precision"), TEXT),
    **dict.fromkeys(("age_years", "score", *map(column_of, FINDINGS)), NUMBER),
    **dict.fromkeys(("run_id", "scan_id", "follow_up", "revision", "label"), WHOLE),
    **{f"{column_of(finding)}_label": WHOLE for finding in FINDINGS},
    "reused": FLAG,
    "scored_at": MOMENT,
}
#: Rows that are in memory at a time.
_CSV_PIECE: Final = 5_000
_ROW_GROUP: Final = 50_000

Column = Sequence[Any]


def export_run(connection: Connection, run_id: int, out: BinaryIO | Path, *, kind: str, wide: bool) -> int:
    """Write a run's rows of `results` (`wide`: of `results_wide`), in the order of image names and findings.

    The run passes through in pieces: memory does not grow with it. Moments are in UTC. CSV has them in ISO 8601, flags
    as `true` and `false`, and NULL as nothing; Parquet has the types of `KINDS`.

    Args:
        connection: reads only.
        run_id: which run.
        out: an open file, or where a whole file is to appear once it is complete, over what may be there.
        kind: `csv` or `parquet`.
        wide: a row a scan, instead of a row a finding of a scored scan.

    Returns:
        How many rows were written.

    Raises:
        UserError: the file cannot be written there.
    """
    write, piece = (_write_csv, _CSV_PIECE) if kind == "csv" else (_write_parquet, _ROW_GROUP)
    view, order = ("results_wide", "image_name") if wide else ("results", "image_name, finding")
    query = text(f"SELECT * FROM {view} WHERE run_id = :run ORDER BY {order}")  # noqa: S608 -- both are ours
    with _opened(out) as file:
        # Without this, PostgreSQL's driver reads everything before it gives the first row.
        result = connection.execute(query, {"run": run_id}, execution_options={"stream_results": True})
        names = tuple(result.keys())
        # The size is said here: without one, `partitions` gives everything at once.
        pieces = (_columns(names, rows) for rows in result.partitions(piece))
        return write(file, names, pieces)


@contextmanager
def _opened(out: BinaryIO | Path) -> Iterator[BinaryIO]:
    """The open file itself, or a new one that appears at its place once all is written."""
    if not isinstance(out, Path):
        try:
            yield out
        except BrokenPipeError:
            # Whoever read it has seen enough (`| head`); the command line knows how to end.
            raise
        except OSError as error:
            raise UserError(f"stdout: cannot be written ({error.strerror or error})") from error
        return
    try:
        if out.exists() and not out.is_file():
            raise UserError(f"{out}: cannot be written: it is there, and no file")
        with open_atomically(out) as file:
            yield file
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from error


def _write_csv(file: BinaryIO, names: Sequence[str], pieces: Iterator[list[Column]]) -> int:
    rows, buffer = 0, StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for columns in pieces:
        words = [_worded(KINDS.get(name), column) for name, column in zip(names, columns, strict=True)]
        writer.writerows(zip(*words, strict=True))
        rows += len(columns[0])
        _drain(buffer, file)
    _drain(buffer, file)
    return rows


def _drain(buffer: StringIO, file: BinaryIO) -> None:
    file.write(buffer.getvalue().encode())
    buffer.seek(0)
    buffer.truncate()


def _write_parquet(file: BinaryIO, names: Sequence[str], pieces: Iterator[list[Column]]) -> int:
    # A quarter of a second and 60 MB, which no other command needs.
    import pyarrow as pa
    from pyarrow import parquet

    types = {NUMBER: pa.float64(), WHOLE: pa.int64(), FLAG: pa.bool_(), MOMENT: pa.timestamp("us", tz="UTC")}
    schema = pa.schema([(name, types.get(KINDS.get(name, TEXT), pa.string())) for name in names])
    rows = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for columns in pieces:
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=_ROW_GROUP)
            rows += len(columns[0])
    return rows


def _columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Column]:
    """The rows' columns, their values alike on both databases."""
    columns = zip(*rows, strict=True)
    return [_alike(KINDS.get(name), column) for name, column in zip(names, columns, strict=True)]


def _alike(kind: str | None, column: Column) -> Column:
    """SQLite has moments as text without a zone and flags as 0 and 1; what has no kind becomes text."""
    converters: dict[str | None, Callable[[Any], Any]] = {FLAG: bool, MOMENT: _moment, None: str}
    convert = converters.get(kind)
    return column if convert is None else [None if value is None else convert(value) for value in column]


def _worded(kind: str | None, column: Column) -> Column:
    """A column as CSV has it."""
    if kind == MOMENT:
        return [value and value.isoformat(timespec="microseconds") for value in column]
    return [None if value is None else str(value).lower() for value in column] if kind == FLAG else column


def _moment(value: str | datetime) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
