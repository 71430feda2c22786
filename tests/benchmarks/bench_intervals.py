"""How often 95% intervals cover the truth, in percent of 4,000 generated sets: the table of docs/evaluation.md.

    python -m tests.benchmarks.bench_intervals [SETS]

Two minutes on one core. Of 4,000 sets the share is known to 0.7 points (two deviations).
"""

import sys
import time
from typing import Final

from tests.support.clustered_sets import KINDS
from tests.support.coverage import coverage, true_figures

_POSITIVES: Final = (10, 30, 100)
_SETS: Final = 4000
#: Patients of the set whose figures are the truth: 1.4 million scans.
_LARGE: Final = 400_000


def main(sets: int) -> None:
    """Print the table."""
    started = time.perf_counter()
    found = {}
    for kind in KINDS:
        truth = true_figures(kind, patients=_LARGE)
        for positives in _POSITIVES:
            found[kind.name, positives] = coverage(kind, truth, positives=positives, sets=sets)
    print("| figure |", " | ".join(f"{name}, {positives}" for name, positives in found), "|")
    print("|---|" + "---:|" * len(found))
    for figure in truth:
        shares = " | ".join(f"{100 * one.covered[figure]:.1f}" for one in found.values())
        print(f"| {figure.replace('_', ' ')} | {shares} |")
    print("| sets with intervals |", " | ".join(f"{100 * one.judged / one.sets:.1f}" for one in found.values()), "|")
    print(f"{sets} sets a column, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else _SETS)
