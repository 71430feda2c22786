"""How often a comparison finds a difference where there is none, and where there is one: docs/evaluation.md's tables.

    python -m tests.benchmarks.bench_compare [SETS]

In percent of 4,000 generated pairs of sets; 13 minutes on one core. Of 4,000 pairs, 5% is known to 0.7 points (two
deviations).
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.support.clustered_sets import KINDS, Second
from tests.support.paired_errors import FIGURES, TESTS, found, true_differences

_ALIKE: Final = Second()
_WORSE: Final = Second(signal=0.8)
_POSITIVES: Final = (10, 30, 100, 300)
#: Where there is a difference.
_OF_WORSE: Final = (30, 100, 300)
_SETS: Final = 4000
#: Patients of the pair whose differences are the truth: 1.4 million scans.
_LARGE: Final = 400_000


def main(sets: int) -> None:
    """Print the tables."""
    started = time.perf_counter()
    none = dict.fromkeys(FIGURES, 0.0)
    alike = {
        (kind.name, positives): found(kind, _ALIKE, none, positives=positives, sets=sets)
        for kind in KINDS
        for positives in _POSITIVES
    }
    _print("no difference: p below 0.05", TESTS, {row: one.raised for row, one in alike.items()})
    _print("no difference: pairs that have a p", TESTS, {row: one.judged for row, one in alike.items()})
    truths = {kind.name: true_differences(kind, _WORSE, patients=_LARGE) for kind in KINDS}
    worse = {
        (kind.name, positives): found(kind, _WORSE, truths[kind.name], positives=positives, sets=sets)
        for kind in KINDS
        for positives in _OF_WORSE
    }
    _print("the difference, times 100", FIGURES, {(name, ""): truth for name, truth in truths.items()})
    _print("a difference: p below 0.05", TESTS, {row: one.raised for row, one in worse.items()})
    _print("a difference: intervals that hold it", FIGURES, {row: one.covered for row, one in worse.items()})
    print(f"{sets} pairs a row, {time.perf_counter() - started:.0f} s")


def _print(title: str, columns: Sequence[str], rows: Mapping[tuple[str, object], Mapping[str, float]]) -> None:
    print(f"\n{title}\n\n| sets |", " | ".join(columns), "|")
    print("|---|" + "---:|" * len(columns))
    for (kind, positives), shares in rows.items():
        cells = (f"{100 * shares[name]:.1f}" if name in shares else "" for name in columns)
        print(f"| {kind} {positives} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else _SETS)
