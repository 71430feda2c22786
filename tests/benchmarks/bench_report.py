"""Measures `producer report` in its own process: seconds with imports, peak memory, and the size of the page's parts.

    python -m tests.benchmarks.bench_report [--keep FOLDER] [--out bench_report.json]

Once on 112,120 scans of 30,805 patients with 15 findings, as NIH's set has, and once on 433 scans, as the demo has:
medians of 3. The ledgers are SQLite files. They take half a minute to make, and stay in FOLDER if one is given.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from db.addresses import sqlite_address
from db.findings import ABNORMAL, NIH_FINDINGS
from tests.support.report_ledger import ReportedRun, make_report_ledger

RUNS = {
    "112,120 scans": ReportedRun(scans=112_120, patients=30_805, fitted=0, findings=(ABNORMAL, *NIH_FINDINGS)),
    "433 scans": ReportedRun(scans=433, patients=150, fitted=0, findings=(ABNORMAL, *NIH_FINDINGS)),
}
REPEATS = 3


def main() -> None:
    """Measure, print and write everything; with `--one`, be one of the measured processes."""
    options = parse()
    if options.one:
        report_once(options.one)
        return
    figures = {}
    with TemporaryDirectory(prefix="bench-report-") if options.keep is None else nullcontext(options.keep) as folder:
        for name, run in RUNS.items():
            figures[name] = measure(home_of(run, Path(folder)))
            print(name, *(f"{key} {value}" for key, value in figures[name].items()), sep="\n  ", flush=True)
    options.out.write_text(json.dumps(figures, indent=1))


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the ledgers in this folder, and reuse them")
    parser.add_argument(
        "--out", type=Path, default=Path("bench_report.json"), help="JSON file to write (default %(default)s)"
    )
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def home_of(run: ReportedRun, folder: Path) -> Path:
    """The home with the run's ledger, which is made unless it is there."""
    home = folder / f"home-{run.scans}"
    if not home.exists():
        making = folder / f"making-{run.scans}"
        making.mkdir(parents=True, mode=0o700)
        make_report_ledger(sqlite_address(making / "nightread.sqlite"), run)
        making.rename(home)
    return home


def measure(home: Path) -> dict[str, Any]:
    """Medians of seconds and peak memory, and the sizes of what was written."""
    runs = [in_process(home) for _ in range(REPEATS)]
    medians = {name: round(statistics.median(one[name] for one in runs), 2) for name in runs[0]}
    page = (home / "report" / "index.html").read_text(encoding="utf-8")
    files = {f"{path.name}, KB": round(path.stat().st_size / 1e3, 1) for path in sorted((home / "report").iterdir())}
    return medians | files | {f"page's {part}, KB": size for part, size in parts_of(page).items()}


def parts_of(page: str) -> dict[str, float]:
    """Kilobytes of the page's data, styles, script and all the rest."""
    sizes = {
        "data": r'<script type="application/json".*?</script>',
        "styles": r"<style.*?</style>",
        "script": r"<script(?! type=.application/json).*?</script>",
    }
    found = {name: sum(len(part.encode()) for part in re.findall(f"(?s){what}", page)) for name, what in sizes.items()}
    found["rest"] = len(page.encode()) - sum(found.values())
    return {name: round(size / 1e3, 1) for name, size in found.items()}


def in_process(home: Path) -> dict[str, float]:
    """Seconds and peak memory of one report in its own process."""
    command, start = [sys.executable, "-m", "tests.benchmarks.bench_report", "--one", str(home)], time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"CXR_HOME": str(home)})
    return {"seconds": time.perf_counter() - start, "peak MiB": float(done.stdout.splitlines()[-1])}


def report_once(home: Path) -> None:
    """Run the command in this process, and print the peak of its memory in MiB."""
    from producer.cli import main

    sys.argv = ["producer", "report", "--run", "1", "--out", str(home / "report")]
    try:
        main()
    except SystemExit as done:
        if done.code:
            raise
    # Not `ru_maxrss`: a process inherits that of the one that started it.
    print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024)


if __name__ == "__main__":
    main()
