"""Recovery times of the fault tests: one line each in a file that two test processes can write, and a table of them."""

import json
import os
import statistics
from collections import defaultdict
from pathlib import Path

FILE = Path(os.environ.get("FAULT_FIGURES", "build/faults.jsonl"))


def forget():
    """Delete the recovery times of an earlier session."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.unlink(missing_ok=True)


def record(fault, *, workers, seconds, stated):
    """Add one try: how many seconds the recovery took, and how many are stated."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    line = {"fault": fault, "workers": workers, "seconds": round(seconds, 2), "stated": stated}
    with FILE.open("a") as file:
        file.write(json.dumps(line) + "\n")


def table():
    """A line for each fault: number of tries, median and longest recovery, and the stated time."""
    if not FILE.exists():
        return []
    tries = defaultdict(list)
    for line in FILE.read_text().splitlines():
        found = json.loads(line)
        tries[found["fault"]].append(found)
    rows = [f"{'fault':<64} {'tries':>5} {'median s':>9} {'worst s':>8} {'stated s':>9}"]
    for fault, found in sorted(tries.items()):
        seconds = [one["seconds"] for one in found]
        stated = max(one["stated"] for one in found)
        median = statistics.median(seconds)
        rows.append(f"{fault:<64} {len(found):>5} {median:>9.1f} {max(seconds):>8.1f} {stated:>9.1f}")
    return rows
