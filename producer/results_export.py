"""Streams a run's rows of the views to a CSV, Parquet or JSON file."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from sqlalchemy import Connection

from db.errors import UserError
from db.findings import FINDINGS, column_of
from db.ledger.models import ModelInfo, find_model, thresholds_of
from db.ledger.results import Pages, stream_results, stream_reviews
from db.ledger.runs import find_run
from producer.results_json import Thresholds, format_lines, format_reviews
from worker.files import open_atomically

TEXT: Final = "text"
FLOAT: Final = "float"
INTEGER: Final = "integer"
BOOLEAN: Final = "boolean"
TIMESTAMP: Final = "timestamp"
DATE: Final = "date"

#: The type of each column of `results`, `results_wide` and `reviews`; a column that is not listed is written as text.
COLUMN_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("dataset", "image_name", "patient_id", "view", "sex", "finding"), TEXT),
    **dict.fromkeys(("state", "reason", "detail", "notes", "location", "model", "label_set"), TEXT),
    **dict.fromkeys(("runtime", "precision", "export_sha256"), TEXT),
    **dict.fromkeys(("sop_instance_uid", "manufacturer", "transfer_syntax"), TEXT),
    **dict.fromkeys(("verdict", "comment", "reviewer"), TEXT),
    **dict.fromkeys(("age_years", "score", "threshold", *map(column_of, FINDINGS)), FLOAT),
    **dict.fromkeys(("run_id", "scan_id", "follow_up", "revision", "label", "held_out", "is_latest"), INTEGER),
    **{f"{column_of(finding)}_label": INTEGER for finding in FINDINGS},
    "reused": BOOLEAN,
    **dict.fromkeys(("scored_at", "reviewed_at"), TIMESTAMP),
    "study_date": DATE,
}
#: Rows in memory at a time, as text and as a table.
_TEXT_ROWS: Final = 5_000
_PARQUET_GROUP_ROWS: Final = 50_000

Column = Sequence[Any]
#: Writes columns with these names, and returns how many rows these were.
_Writer: TypeAlias = Callable[[BinaryIO, Sequence[str], Iterator[list[Column]]], int]


def export_run(connection: Connection, run_id: int, out: BinaryIO | Path, *, export_format: str, wide: bool) -> int:
    """Write a run's rows of `results` (`wide`: of `results_wide`), ordered by image name and finding.

    Rows are streamed, so memory does not grow with the run. Timestamps are in UTC. CSV has them in ISO 8601, booleans
    as `true` and `false`, and NULL as an empty cell; Parquet has the types of `COLUMN_TYPES`. JSON has one object a
    line, see `producer.results_json`.

    Args:
        connection: only reads.
        run_id: the run.
        out: an open file, or the path of a file that appears when it is complete and replaces an earlier one.
        export_format: `csv`, `parquet` or `json`.
        wide: write one row per scan, instead of one per finding of each scored scan. JSON always has one per scan.

    Returns:
        How many rows were written.

    Raises:
        UserError: the file cannot be written; of JSON also: there is no such run.
    """
    write = _json_writer(connection, run_id) if export_format == "json" else _WRITERS[export_format]
    query = partial(stream_results, connection, run_id, wide=wide or export_format == "json")
    return _export(query, out, write, export_format)


def export_reviews(connection: Connection, run_id: int, out: BinaryIO | Path, *, export_format: str) -> int:
    """Write the reviews of a run's scans under its model, the newest last: the view `reviews`, as `export_run` does.

    JSON has one object a line with the columns of the view.

    Returns:
        How many rows were written.

    Raises:
        UserError: the file cannot be written.
    """
    write = _write_json_reviews if export_format == "json" else _WRITERS[export_format]
    return _export(partial(stream_reviews, connection, run_id), out, write, export_format)


def _export(query: Callable[..., Pages], out: BinaryIO | Path, write: _Writer, export_format: str) -> int:
    rows_at_a_time = _PARQUET_GROUP_ROWS if export_format == "parquet" else _TEXT_ROWS
    with _open_output(out) as file:
        names, pages = query(page_rows=rows_at_a_time)
        blocks = (to_columns(names, rows) for rows in pages)
        return write(file, names, blocks)


@contextmanager
def _open_output(out: BinaryIO | Path) -> Iterator[BinaryIO]:
    """The open file itself, or a temporary file that replaces the one at the path when everything is written."""
    if not isinstance(out, Path):
        try:
            yield out
        except BrokenPipeError:
            # The reader has seen enough (`| head`): the command line ends quietly.
            raise
        except OSError as error:
            raise UserError(f"stdout: cannot be written ({error.strerror or error})") from error
        return
    try:
        if out.exists() and not out.is_file():
            raise UserError(f"{out}: cannot be written: it exists and is not a file")
        with open_atomically(out) as file:
            yield file
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from error


def _write_csv(file: BinaryIO, names: Sequence[str], blocks: Iterator[list[Column]]) -> int:
    rows, buffer = 0, StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for columns in blocks:
        cells = [_csv_cells(COLUMN_TYPES.get(name), column) for name, column in zip(names, columns, strict=True)]
        writer.writerows(zip(*cells, strict=True))
        rows += len(columns[0])
        _flush(buffer, file)
    _flush(buffer, file)
    return rows


def _flush(buffer: StringIO, file: BinaryIO) -> None:
    file.write(buffer.getvalue().encode())
    buffer.seek(0)
    buffer.truncate()


def _write_parquet(file: BinaryIO, names: Sequence[str], blocks: Iterator[list[Column]]) -> int:
    from pyarrow import parquet

    rows, empty = 0, to_arrow(names, [()] * len(names))
    with parquet.ParquetWriter(file, empty.schema) as writer:
        for columns in blocks:
            writer.write_table(to_arrow(names, columns), row_group_size=_PARQUET_GROUP_ROWS)
            rows += len(columns[0])
    return rows


def _json_writer(connection: Connection, run_id: int) -> _Writer:
    model = find_model(connection, find_run(connection, run_id).model_sha256)
    return partial(_write_json, model=model, thresholds=thresholds_of(connection, model.id))


def _write_json(
    file: BinaryIO, names: Sequence[str], blocks: Iterator[list[Column]], *, model: ModelInfo, thresholds: Thresholds
) -> int:
    return _write_lines(file, names, blocks, partial(format_lines, model=model, thresholds=thresholds))


def _write_json_reviews(file: BinaryIO, names: Sequence[str], blocks: Iterator[list[Column]]) -> int:
    return _write_lines(file, names, blocks, format_reviews)


def _write_lines(
    file: BinaryIO,
    names: Sequence[str],
    blocks: Iterator[list[Column]],
    format_rows: Callable[[Iterator[dict[str, Any]]], Iterator[str]],
) -> int:
    rows = 0
    for columns in blocks:
        objects = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        file.write("".join(format_rows(objects)).encode())
        rows += len(columns[0])
    return rows


_WRITERS: Final[Mapping[str, _Writer]] = {"csv": _write_csv, "parquet": _write_parquet}


def to_arrow(names: Sequence[str], columns: Sequence[Column], column_types: Mapping[str, str] = COLUMN_TYPES) -> Any:
    """The columns as a `pyarrow.Table`: float64, int64, bool, timestamps in microseconds of UTC, dates, strings."""
    # The import takes a quarter of a second and 60 MB, which most commands do not need.
    import pyarrow as pa

    types = {FLOAT: pa.float64(), INTEGER: pa.int64(), BOOLEAN: pa.bool_(), DATE: pa.date32()}
    types[TIMESTAMP] = pa.timestamp("us", tz="UTC")
    schema = pa.schema([(name, types.get(column_types.get(name, TEXT), pa.string())) for name in names])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def to_columns(
    names: Sequence[str], rows: Sequence[Sequence[Any]], column_types: Mapping[str, str] = COLUMN_TYPES
) -> list[Column]:
    """The rows as columns, with the same Python types from both databases."""
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return [_convert(column_types.get(name), column) for name, column in zip(names, columns, strict=True)]


def _convert(column_type: str | None, column: Column) -> Column:
    """SQLite has moments and dates as text and booleans as 0 and 1; a column without a type becomes text."""
    converters: dict[str | None, Callable[[Any], Any]] = {BOOLEAN: bool, TIMESTAMP: _to_utc, DATE: _to_date, None: str}
    convert = converters.get(column_type)
    return column if convert is None else [None if value is None else convert(value) for value in column]


def _csv_cells(column_type: str | None, column: Column) -> Column:
    if column_type == TIMESTAMP:
        return [value and value.isoformat(timespec="microseconds") for value in column]
    if column_type == BOOLEAN:
        return [None if value is None else str(value).lower() for value in column]
    return column


def _to_date(value: str | date) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _to_utc(value: str | datetime) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
