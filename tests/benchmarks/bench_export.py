"""Measures `producer export` of a run of many rows on both databases: seconds and peak memory of its process.

    python -m tests.benchmarks.bench_export [--rows 1000000] [--out bench_export.json]

Rows are those of the long form, 15 per scored scan. The ledger holds five such runs.
"""

import argparse
import json
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from db.engine.session import make_engine, read_transaction
from producer.results_export import export_run
from tests.benchmarks.bench_sql import databases
from tests.benchmarks.big_ledger import BigLedger

RUNS, RUN = 5, 3


def main() -> None:
    """Measure, print and write everything; with `--one`, run as one of the measured processes."""
    options = parse()
    if options.one:
        url, kind, shape = options.one
        print(json.dumps(export_once(url, kind, wide=shape == "wide")))
        return
    figures = []
    for database in ("sqlite", "postgresql"):
        with databases(database) as new_database:
            # One scan in fifty of a big ledger is rejected.
            url = new_database(BigLedger(runs=RUNS, scans=options.rows // 15 * 50 // 49))
            for kind, shape in (*product(("csv", "parquet"), ("long", "wide")), ("json", "wide")):
                figures.append({"database": database, "kind": kind, "shape": shape, **in_process(url, kind, shape)})
                print("  ".join(f"{name} {value}" for name, value in figures[-1].items()), flush=True)
    options.out.write_text(json.dumps(figures, indent=1))


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows in the long form (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench_export.json"), help="JSON file to write (default %(default)s)"
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def in_process(url: str, kind: str, shape: str) -> dict[str, Any]:
    """Figures of one export in its own process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_export", "--one", url, kind, shape]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def export_once(url: str, kind: str, *, wide: bool) -> dict[str, Any]:
    """Rows, seconds, peak memory and size of the file in MiB."""
    engine, start = make_engine(url), time.perf_counter()
    with TemporaryDirectory(prefix="bench-export-") as folder, read_transaction(engine) as connection:
        out = Path(folder) / "out"
        rows = export_run(connection, RUN, out, export_format=kind, wide=wide)
        seconds, size = time.perf_counter() - start, out.stat().st_size >> 20
    # Not `ru_maxrss`: a process inherits that of the one that started it.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10
    return {"rows": rows, "seconds": round(seconds, 1), "peak_mib": peak, "file_mib": size}


if __name__ == "__main__":
    main()
