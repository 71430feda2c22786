"""How often a comparison finds a difference where there is none, and where there is one: docs/evaluation.md's tables.

    python -m tests.benchmarks.bench_compare [SETS]

In percent of 4,000 generated pairs of sets; 7 minutes on one core. Of 4,000 pairs, 5% is known to 0.7 points (two
deviations).
"""

import sys
import time
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np

from db.evaluation.cohort import MIN_OF_EACH_CLASS
from tests.support.clustered_sets import KINDS, STRONG, WEAK, Kind, Second, paired_sets, patients_for
from tests.support.paired_errors import FIGURES, TESTS, found, true_differences

_ALIKE: Final = Second()
_WORSE: Final = Second(signal=0.8)
_POSITIVES: Final = (10, 30, 100, 300)
#: Where there is a difference.
_OF_WORSE: Final = (30, 100, 300)
_FLAG_TESTS: Final = ("Yang", "Durkalski", "Obuchowski", "McNemar by scan")
_SETS: Final = 4000
#: Patients of the pair whose differences are the truth: 1.4 million scans.
_LARGE: Final = 400_000
#: Where tests of flags are compared.
_OF_FLAGS: Final = (30, 100)
#: Above this a chi-square of one degree of freedom has 5%.
_CRITICAL: Final = NormalDist().inv_cdf(0.975) ** 2


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
    flags = {
        (kind.name, positives): _flag_tests(kind, positives, sets) for kind in (WEAK, STRONG) for positives in _OF_FLAGS
    }
    _print("no difference: other tests of flags", _FLAG_TESTS, flags)
    print(f"{sets} pairs a row, {time.perf_counter() - started:.0f} s")


def _flag_tests(kind: Kind, positives: int, sets: int) -> dict[str, float]:
    """The share of pairs without a difference in which each test of flags finds one; see docs/evaluation.md."""
    rng, patients = np.random.default_rng([5, positives]), patients_for(kind, positives)
    above, judged = np.zeros(len(_FLAG_TESTS)), 0
    for _ in range(sets):
        pair = paired_sets(kind, patients, _ALIKE, rng)
        first, second = (sample.scores >= kind.threshold for sample in pair)
        surplus = pair[0].of_patients(first * 1.0 - second)
        if np.count_nonzero(surplus) < MIN_OF_EACH_CLASS:
            continue
        judged += 1
        scans = np.bincount(pair[0].patients)
        shares, residuals = surplus / scans, surplus - surplus.sum() / scans.sum() * scans
        total, many = surplus.sum() ** 2, patients / (patients - 1)
        above += (
            np.array(
                [
                    total / np.sum(surplus**2),
                    shares.sum() ** 2 / np.sum(shares**2),
                    total / (many * np.sum(residuals**2)),
                    total / np.sum(first != second),
                ]
            )
            > _CRITICAL
        )
    return dict(zip(_FLAG_TESTS, above / judged, strict=True))


def _print(title: str, columns: Sequence[str], rows: Mapping[tuple[str, object], Mapping[str, float]]) -> None:
    print(f"\n{title}\n\n| sets |", " | ".join(columns), "|")
    print("|---|" + "---:|" * len(columns))
    for (kind, positives), shares in rows.items():
        cells = (f"{100 * shares[name]:.1f}" if name in shares else "" for name in columns)
        print(f"| {kind} {positives} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else _SETS)
