"""How often like nights raise an alarm, how often other nights do, and what a night takes: docs/drift.md's tables.

    python -m tests.benchmarks.bench_drift level [--nights N] [--sizes ...]
    python -m tests.benchmarks.bench_drift power [--nights N] [--sizes ...]
    python -m tests.benchmarks.bench_drift limits [--nights N] [--sizes ...]
    python -m tests.benchmarks.bench_drift gain --model FOLDER [--nights N] [--patients P]
    python -m tests.benchmarks.bench_drift time

`level` takes an hour on one core, `power` half an hour, `limits` and `gain` a quarter, and `time` half a minute. The
model of `gain` is that of `make demo`, a folder of demo/home/models; it has seen none of these patients.
"""

import argparse
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from db.drift.judge import judge_night
from db.drift.night import REFERENCE_NIGHTS, NightDrift
from db.drift.scans import DecidedScans
from tests.support.generated_nights import USUAL_AP, USUAL_RETURNING, Hospital, pooled
from tests.support.phantom_scores import Pool, draw_pool

_SIZES: Final = (200, 1_000, 10_000)
#: Of a night of 10,000 scans a reference of 10 nights, because 2,000 such nights are judged.
_REFERENCE_NIGHTS: Final = {10_000: 10}
_SEED: Final = 1
#: What is done to a night.
_SHIFTS: Final[dict[str, Callable[[Hospital, int], DecidedScans]]] = {
    "none": lambda hospital, run_id: hospital.night(run_id),
    "AP 35% to 57%": lambda hospital, run_id: hospital.night(run_id, ap=0.57),
    "AP 35% to 57%, scores as before": lambda hospital, run_id: hospital.night(run_id, recorded_ap=0.57),
    "AP 35% to 45%": lambda hospital, run_id: hospital.night(run_id, ap=0.45),
    "AP 35% to 40%": lambda hospital, run_id: hospital.night(run_id, ap=0.40),
    "scores 0.1 higher": lambda hospital, run_id: _higher(hospital.night(run_id), 0.1),
    "scores 0.02 higher": lambda hospital, run_id: _higher(hospital.night(run_id), 0.02),
    "scores 0.005 higher": lambda hospital, run_id: _higher(hospital.night(run_id), 0.005),
    "rejects 0.6% to 4%": lambda hospital, run_id: hospital.night(run_id, rejected=0.04),
    "rejects 0.6% to 2%": lambda hospital, run_id: hospital.night(run_id, rejected=0.02),
}
#: Of a detector; the first is that of the reference.
_GAINS: Final = (1.0, 1.03, 1.06, 1.1)
#: Standard deviations of the share of AP among nights that are not quite alike.
_DEVIATIONS: Final = (0.01, 0.02, 0.05)
#: Shares of patients that return.
_RETURNING: Final = (0.0, 0.5)
_LIMITS_REFERENCE: Final = 10


def main() -> None:
    """Print one part's table."""
    options = _parse()
    started = time.perf_counter()
    options.part(options)
    print(f"{time.perf_counter() - started:.0f} s")


def level(options: argparse.Namespace) -> None:
    """The share of like nights that raise an alarm, each judged against the nights before it."""
    nights = options.nights or 2000
    print("| scans of a night | reference | nights | alarms |")
    print("|---:|---:|---:|---:|")
    for size in options.sizes:
        before = _REFERENCE_NIGHTS.get(size, REFERENCE_NIGHTS)
        share = _share(_like_nights(size, before, nights))
        print(f"| {size:,} | {size * before:,} | {nights:,} | {share:.2%} |", flush=True)


def power(options: argparse.Namespace) -> None:
    """The share of nights with a shift that raise an alarm."""
    nights = options.nights or 100
    print("| shift |" + "".join(f" {size:,} |" for size in options.sizes))
    print("|---|" + "---:|" * len(options.sizes))
    for name, change in list(_SHIFTS.items())[1:]:
        shares = (_power(size, change, nights) for size in options.sizes)
        print(f"| {name} |" + "".join(f" {share:.0%} |" for share in shares), flush=True)


def gain(options: argparse.Namespace) -> None:
    """The share of nights of phantoms under another gain that raise an alarm."""
    nights = options.nights or 100
    pool = draw_pool(options.model, patients=options.patients, gains=_GAINS, seed=_SEED)
    reference = draw_pool(options.model, patients=3 * options.patients, gains=_GAINS[:1], seed=_SEED + 1).all_scans(0)
    sizes = [size for size in options.sizes if 2 * size < len(pool.patients)]
    print(f"nights drawn from {len(pool.patients):,} scans, a reference of {len(reference.runs):,}")
    print("| gain |" + "".join(f" {size:,} |" for size in sizes))
    print("|---|" + "---:|" * len(sizes))
    for place, factor in enumerate(_GAINS):
        shares = (_share(_phantom_nights(pool, reference, place, size, nights)) for size in sizes)
        print(f"| {factor - 1:+.0%} |" + "".join(f" {share:.0%} |" for share in shares), flush=True)


def limits(options: argparse.Namespace) -> None:
    """The share of nights that raise an alarm if nights differ by more than chance, or if patients return."""
    nights = options.nights or 1000
    print("| nights |" + "".join(f" {size:,} |" for size in options.sizes))
    print("|---|" + "---:|" * len(options.sizes))
    kinds = {f"the share of AP deviates by {deviation:.0%}": {"deviation": deviation} for deviation in _DEVIATIONS}
    kinds |= {f"{share:.0%} of patients return": {"returning": share} for share in _RETURNING}
    for name, changes in kinds.items():
        found = (_share(_like_nights(size, _LIMITS_REFERENCE, nights, **changes)) for size in options.sizes)
        print(f"| {name} |" + "".join(f" {share:.1%} |" for share in found), flush=True)


def duration(_options: argparse.Namespace) -> None:
    """What a night of 10,000 scans against 300,000 takes."""
    hospital = Hospital(np.random.default_rng(_SEED), scans=10_000)
    reference = pooled([hospital.night(run_id) for run_id in range(REFERENCE_NIGHTS)])
    before = _peak_mib()
    print(f"300,000 scans of 15 findings, in a process of {before} MiB")
    for name in ("none", "none", "AP 35% to 57%"):
        night = _SHIFTS[name](hospital, REFERENCE_NIGHTS)
        started = time.process_time()
        drift = judge_night(night, reference, run_id=REFERENCE_NIGHTS, name="")
        took = time.process_time() - started
        print(f"{name}: p {drift.p_value:.3g}, {took:.1f} s of one core, {_peak_mib()} MiB at peak")


def _like_nights(
    size: int, before: int, nights: int, *, deviation: float = 0.0, returning: float = USUAL_RETURNING
) -> Iterator[NightDrift]:
    rng = np.random.default_rng([_SEED, size])
    hospital = Hospital(rng, scans=size, returning=returning)

    def next_night(run_id: int) -> DecidedScans:
        ap = USUAL_AP + (deviation * rng.standard_normal() if deviation else 0)
        return hospital.night(run_id, ap=ap)

    last = deque(map(next_night, range(before)), before)
    for run_id in range(before, before + nights):
        night = next_night(run_id)
        yield judge_night(night, pooled(last), run_id=run_id, name="")
        last.append(night)


def _power(size: int, change: Callable[[Hospital, int], DecidedScans], nights: int) -> float:
    before = _REFERENCE_NIGHTS.get(size, REFERENCE_NIGHTS)
    hospital = Hospital(np.random.default_rng([_SEED, size]), scans=size)
    reference = pooled([hospital.night(run_id) for run_id in range(before)])
    found = (change(hospital, run_id) for run_id in range(before, before + nights))
    return _share(judge_night(night, reference, run_id=int(night.runs[0]), name="") for night in found)


def _phantom_nights(pool: Pool, reference: DecidedScans, place: int, size: int, nights: int) -> Iterator[NightDrift]:
    rng = np.random.default_rng([_SEED, size, place])
    for run_id in range(1, nights + 1):
        night = pool.night(rng, scans=size, gain=place, run_id=run_id)
        yield judge_night(night, reference, run_id=run_id, name="")


def _share(drifts: Iterable[NightDrift]) -> float:
    return float(np.mean([drift.is_alarm for drift in drifts]))


def _higher(night: DecidedScans, by: float) -> DecidedScans:
    return replace(night, scores=np.minimum(night.scores + by, 1))


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for name, part in {"level": level, "power": power, "gain": gain, "limits": limits, "time": duration}.items():
        command = parts.add_parser(name, help=part.__doc__)
        command.add_argument("--nights", type=int)
        command.add_argument("--sizes", type=int, nargs="+", default=_SIZES)
        command.add_argument("--patients", type=int, default=1000)
        command.add_argument("--model", type=Path, required=part is gain)
        command.set_defaults(part=part)
    return parser.parse_args()


if __name__ == "__main__":
    main()
