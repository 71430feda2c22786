"""Measures the worklist of a run of a thousand and of a million scans, on both databases.

For each it gives the seconds until the first list is there, those of each column that is read when a filter first needs
it, the milliseconds of later pages (median of 5: the check whether anything changed, the selection, the rows of one
page), the rows per second of the CSV, and the memory of the process, which holds no web server and no model.

    python -m tests.benchmarks.bench_browse [--scans 1000 1000000] [--out bench_browse.json]
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db.engine.session import make_engine, open_to_read, read_transaction
from db.ledger.runs import find_run
from producer.browse.worklist.csv_file import stream_csv
from producer.browse.worklist.query import WorklistQuery, parse_query
from producer.browse.worklist.rows import PAGE_ROWS, WorklistRow, read_rows
from producer.browse.worklist.run_table import RunTables
from producer.browse.worklist.selection import choices, neighbours, select_scans
from tests.benchmarks.bench_sql import databases, peak_kib
from tests.benchmarks.big_ledger import BigLedger

RUN = 1
REPEATS = 5
CSV_ROWS = 20_000
REVIEWS = {scan: ("agree", "disagree")[scan % 2] for scan in range(1, 1_000, 3)}
LAST = "last"
#: By what is measured, the parameters of an address.
PAGES = {
    "plain": {},
    "second page": {"page": "2"},
    "last page": {"page": LAST},
    "ascending": {"sort": "ascending"},
    "by scan": {"sort": "scan"},
    "another finding": {"finding": "Mass"},
    "score range": {"low": "0.4", "high": "0.6"},
    "label": {"label": "1"},
    "correct": {"verdict": "correct"},
    "wrong": {"verdict": "wrong", "threshold": "0.35"},
    "state and reason": {"state": "rejected", "reason": "truncated"},
    "view": {"view": "PA"},
    "sex": {"sex": "F"},
    "age": {"age_from": "50", "age_to": "70"},
    "held out": {"held_out": "1"},
    "new": {"is_new": "1"},
    "reviewed": {"review": "agree"},
    "not reviewed": {"review": "none"},
    "nearly all filters": {"verdict": "wrong", "view": "PA", "sex": "F", "age_to": "70", "held_out": "1", "low": "0.1"},
}


def main() -> None:
    """Measure, print and write everything; with `--measure`, run as one of the measured processes."""
    options = parse()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    figures: dict[str, Any] = {}
    for kind in ("sqlite", "postgresql"):
        with databases(kind) as new_database:
            for scans in options.scans:
                url = prepared(new_database(BigLedger(runs=1, scans=scans)))
                figures[f"{kind}, {scans:,} scans"] = found = in_process(url)
                show(f"{kind}, {scans:,} scans", found)
    options.out.write_text(json.dumps(figures, indent=1))


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scans", type=int, nargs="+", default=[1_000, 1_000_000], help="scans of the runs (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench_browse.json"), help="JSON file to write (default %(default)s)"
    )
    parser.add_argument("--measure", metavar="URL", help=argparse.SUPPRESS)
    return parser.parse_args()


def prepared(url: str) -> str:
    """Let one scan in ten be seen by the model, and one in five be of an earlier run; returns the URL."""
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE run_scans SET seen = (scan_id % 10 = 0), reused = (scan_id % 5 = 0)"))
        connection.execute(text("UPDATE runs SET can_tell_held_out = TRUE"))
    engine.dispose()
    return url


def in_process(url: str) -> dict[str, Any]:
    """The figures of `measure`, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_browse", "--measure", url]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


def measure(url: str) -> dict[str, Any]:
    """Figures of one database, in the order in which a reader would ask for pages."""
    list_of = Worklist(url)
    figures: dict[str, Any] = {"MiB at the start": resident_mib()}
    figures["s, first list"] = seconds(lambda: list_of.page({}))
    figures["MiB with the first list"] = resident_mib()
    for name, params in (("labels", {"label": "1"}), ("finding", PAGES["another finding"])):
        figures[f"s, first use: {name}"] = seconds(lambda params=params: list_of.page(params))
    figures["ms, page"] = {
        name: milliseconds(lambda params=params: list_of.page(params)) for name, params in PAGES.items()
    }
    figures["ms, choices"] = milliseconds(lambda: choices(list_of.tables.get(RUN)))
    figures["ms, place of a scan"] = milliseconds(lambda: neighbours(list_of.select(list_of.query({})), 1))
    figures["CSV rows/s"] = round(list_of.csv_rows() / seconds(list_of.csv_rows))
    figures["MiB at the end"], figures["MiB at most"] = resident_mib(), peak_kib() // 1024
    return figures


class Worklist:
    """What serves the pages of a run's worklist."""

    def __init__(self, url: str) -> None:
        """Nothing is read yet."""
        self.engine = open_to_read(url)
        self.tables = RunTables(self.engine)

    def query(self, params: dict[str, str]) -> WorklistQuery:
        """Of the parameters of an address."""
        findings = self.tables.get(RUN).findings
        thresholds = dict.fromkeys(findings, 0.5)
        return parse_query(params, findings=findings, default_finding=findings[0], default_threshold=thresholds)

    def select(self, query: WorklistQuery) -> Any:
        """The ids of all pages."""
        return select_scans(self.tables.get(RUN), query, REVIEWS)

    def page(self, params: dict[str, str]) -> list[WorklistRow]:
        """The rows of a page."""
        query = self.query({name: value for name, value in params.items() if value != LAST})
        ids = self.select(query)
        number = -(-len(ids) // PAGE_ROWS) if params.get("page") == LAST else query.page
        with read_transaction(self.engine) as connection:
            return read_rows(connection, RUN, ids[(number - 1) * PAGE_ROWS :][:PAGE_ROWS], query.finding)

    def csv_rows(self) -> int:
        """Write the first rows of the CSV, and return how many."""
        query = self.query({})
        ids = self.select(query)[:CSV_ROWS]
        with read_transaction(self.engine) as connection:
            run = find_run(connection, RUN)
        return sum(part.count(b"\n") for part in stream_csv(self.engine, run, ids, query, REVIEWS)) - 1


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def milliseconds(work: Callable[[], object]) -> float:
    """Median of some calls."""
    return 1_000 * statistics.median(seconds(work) for _ in range(REPEATS))


def resident_mib() -> int:
    """This process's memory."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) // 1024


def show(title: str, figures: dict[str, Any]) -> None:
    """Print one database's figures."""
    print(title)
    for name, value in figures.items():
        for part, figure in value.items() if isinstance(value, dict) else [("", value)]:
            print(f"{figure:10.2f} {name} {part}" if isinstance(figure, float) else f"{figure:10,} {name}")


if __name__ == "__main__":
    main()
