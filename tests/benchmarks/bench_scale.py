"""Measures how the system scales without the cost of the model and of decoding.

Fleets of real workers, a real broker and a real database score runs with a scorer that sleeps for a fixed time. The
difference from `workers / cost` scans per second is the cost of the system, or of the machine if its cores are busy.
Further parts measure fleets whose scorer costs nothing, or as little as a GPU's with chunks of several sizes; the
statements that one chunk needs; look-ups of workers and sweeps in ledgers of several sizes; and the broker alone and
the database alone under full load. docs/scaling.md draws the conclusions.

    python -m tests.benchmarks.bench_scale [--scans 1000 10000 100000] [--workers 1 2 4 8] [--cost-ms 8]

For a run of two minutes: --scans 1000 --workers 1 2 --parts fleets
"""

import argparse
import json
import os
import sys
from functools import partial
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.scale.broker_load import load_broker
from tests.benchmarks.scale.chunk_statements import measure_chunk_statements
from tests.benchmarks.scale.fleet import BATCH, CHUNK, Fleet
from tests.benchmarks.scale.ledger_load import load_ledger
from tests.benchmarks.scale.lookups import time_lookups
from tests.benchmarks.scale.resource_usage import calls

ROOT = Path(__file__).parents[2]
PARTS = ("fleets", "bare", "chunks", "statements", "broker", "ledger", "lookups")
#: Maximum number of scans for the fleets whose scorer costs nothing, or as little as a GPU's.
BARE_SCANS = 10_000
GPU_MS = 1.0
CHUNK_SIZES = (32, 128, 512, 2048)
PROCESSES = ("scoring process", "Celery's parent", "supervisor")


def main():
    options = parse()
    figures = {"cores": os.cpu_count(), "cost ms": options.cost_ms, "batch": BATCH, "chunk": CHUNK, "fleets": []}
    for name, part in parts(options):
        found = part()
        if "scans" in found:
            figures["fleets"].append(found)
        else:
            figures[name] = found
        # Write after each part, so that a later failure loses no figures.
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=1))
        print(f"{name}: done", file=sys.stderr, flush=True)
    show(figures)
    print(options.out)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument(
        "--cost-ms", type=float, default=8.0, help="milliseconds that the scorer sleeps per scan (default %(default)s)"
    )
    parser.add_argument(
        "--batches", type=int, default=800, help="number of batches that each load writes (default %(default)s)"
    )
    parser.add_argument(
        "--ledgers",
        type=int,
        nargs="+",
        default=[10_000, 100_000, 1_000_000],
        help="sizes of the ledgers for look-ups, in scans",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "scale.json")
    return parser.parse_args()


def parts(options):
    """Yields the name and the measurement of each part, short ones first."""
    loads = {
        "statements": measure_chunk_statements,
        "broker": partial(load_broker, CHUNK),
        "ledger": partial(load_ledger, options.batches),
        "lookups": partial(time_lookups, options.ledgers),
    }
    yield from ((name, load) for name, load in loads.items() if name in options.parts)
    bare = min(BARE_SCANS, max(options.scans))
    if "bare" in options.parts:
        for workers in sorted(options.workers)[:2]:
            yield f"{bare} scans, {workers} workers, no cost", partial(one_fleet, bare, workers, 0)
    if "chunks" in options.parts:
        for chunk in CHUNK_SIZES:
            yield f"{bare} scans, chunks of {chunk}", partial(one_fleet, bare, 1, GPU_MS, chunk=chunk)
    if "fleets" in options.parts:
        for scans, workers in product(sorted(options.scans), sorted(options.workers)):
            what = {"idle": scans == min(options.scans), "aggregator": workers == min(options.workers)}
            yield f"{scans} scans, {workers} workers", partial(one_fleet, scans, workers, options.cost_ms, **what)


def one_fleet(scans, workers, cost_ms, *, chunk=CHUNK, idle=False, aggregator=False):
    """Figures of one fleet and run; `idle` adds those of the fleet without work, `aggregator` those of that alone."""
    with Fleet(workers, cost_ms, chunk=chunk) as fleet:
        found = {"scans": scans, "workers": workers, "cost ms": cost_ms, "chunk": chunk}
        found |= {"idle": fleet.idle()} if idle else {}
        found |= fleet.score(scans)
        return found | (fleet.aggregator() if aggregator else {})


def show(figures):
    console = Console(width=48 + 11 * max(3, len(figures["fleets"])), highlight=False)
    if figures["fleets"]:
        console.print(fleets_table(figures["fleets"], figures["cores"]))
        for line in memory_growth(figures["fleets"]):
            console.print(line)
    for name, show_it in SHOW.items():
        if name in figures:
            show_it(Console(width=160, highlight=False), figures[name])


def fleets_table(fleets, cores):
    table = Table("a fleet's", *(f"{one['scans']:,}\nx {one['workers']}" for one in fleets))
    for name, value in ROWS:
        table.add_row(name.replace("CORES", str(cores)), *(cell(value, one) for one in fleets))
    return table


def cell(value, fleet):
    try:
        found = value(fleet)
    except KeyError:
        return ""
    return "" if found is None else format_value(found)


def per_scan(of):
    return lambda fleet: of(fleet["use"]) / fleet["scans"]


def per_thousand_scans(of):
    return lambda fleet: 1000 * of(fleet["use"]) / fleet["scans"]


#: The rows of the fleets' table; sums are over the whole fleet, from the producer's start to the run's end.
ROWS = (
    ("cost of a scan, ms", lambda f: f["cost ms"]),
    ("scans in a chunk", lambda f: f["chunk"]),
    ("scans/s", lambda f: f["scans/s"]),
    ("of the ideal, workers / cost", lambda f: f["of the ideal"]),
    ("of CORES cores, busy", lambda f: f["cores busy"]),
    ("overhead of a chunk, ms", lambda f: f["overhead of a chunk, ms"]),
    ("closing, s", lambda f: f["seconds to close"]),
    ("SQL: a worker waits, ms a scan", per_thousand_scans(lambda u: u["counts"]["seconds"])),
    ("SQL: workers' statements a scan", per_scan(lambda u: u["counts"]["statements"])),
    ("SQL: rows in them a scan", per_scan(lambda u: u["counts"]["rows"])),
    ("SQL: workers' transactions a scan", per_scan(lambda u: u["counts"]["transactions"])),
    ("SQL: all transactions a scan", per_scan(lambda u: u["database"]["transactions"])),
    ("SQL: server active, ms a scan", per_thousand_scans(lambda u: u["database"]["active seconds"])),
    ("PostgreSQL: CPU s, 1,000 scans", per_thousand_scans(lambda u: u["database cpu"])),
    ("ledger: bytes a scan", lambda f: sum(f["bytes"].values()) / f["scans"]),
    ("broker: CPU s, 1,000 scans", per_thousand_scans(lambda u: u["broker cpu"])),
    ("broker: commands a scan", per_scan(lambda u: calls(u["broker"]))),
    ("broker: peak MiB", lambda f: f["broker peak MiB"]),
    ("broker: longest queue, chunks", lambda f: f["longest queue"]),
    ("producer enqueue: s", lambda f: f["producer"]["seconds"]),
    ("producer enqueue: CPU s", lambda f: f["producer"]["cpu_seconds"]),
    ("producer enqueue: peak MiB", lambda f: f["producer"]["peak_mib"]),
    *((f"{p}: CPU ms a scan", per_thousand_scans(lambda u, p=p: u["worker cpu"][p])) for p in PROCESSES),
    *((f"{p}: peak MiB", lambda f, p=p: f["peak MiB"][p]) for p in PROCESSES),
    ("scoring process, least: peak MiB", lambda f: f["least peak MiB"]["scoring process"]),
    ("aggregator alone: s", lambda f: f["aggregate"]["seconds"]),
    ("aggregator alone: peak MiB", lambda f: f["aggregate"]["peak_mib"]),
    ("producer report: s", lambda f: f["report"]["seconds"]),
    ("producer report: peak MiB", lambda f: f["report"]["peak_mib"]),
    ("idle: broker commands a worker, /s", lambda f: f["idle"]["broker commands"]),
    ("idle: transactions a worker, /s", lambda f: f["idle"]["transactions"]),
    ("idle: PostgreSQL connections a worker", lambda f: f["idle"]["connections"]),
    ("idle: broker connections a worker", lambda f: f["idle"]["broker connections"]),
)


def memory_growth(fleets):
    """Yields lines with the peak memory at the most scans divided by that at the fewest, by the number of workers."""
    costs = max(one["cost ms"] for one in fleets)
    costly = [one for one in fleets if one["cost ms"] == costs]
    for workers in sorted({one["workers"] for one in costly}):
        alike = sorted((one for one in costly if one["workers"] == workers), key=lambda one: one["scans"])
        few, many = alike[0], alike[-1]
        if few["scans"] == many["scans"]:
            continue
        ratios = [
            f"{name.removesuffix(': peak MiB')} {value(many) / value(few):.2f}"
            for name, value in ROWS
            if name.endswith("peak MiB") and all(cell(value, one) for one in (few, many))
        ]
        yield f"memory, {many['scans']:,} over {few['scans']:,} scans, {workers} workers: {', '.join(ratios)}"


def show_statements(console, found):
    table = Table("a chunk's statement", "calls", "server ms each")
    for one in found["statements"]:
        table.add_row(one["statement"][:100], f"{one['calls']:.3g}", f"{one['ms']:.3f}")
    console.print(table)
    sent, received = found["bytes a scan to the server"], found["bytes a scan from the server"]
    console.print(
        f"a chunk: {found['round trips']:.1f} round trips; a scan: {sent:.0f} bytes sent, {received:.0f} back"
    )


def show_broker(console, found):
    for way in ("through kombu", "its commands alone"):
        console.print(load_table(f"broker, {way}", found[way]))
    console.print(f"a chunk: {' '.join(found['commands of a chunk'])}; {found['bytes of a message']:,} bytes a message")


def show_ledger(console, found):
    for way, loads in found.items():
        console.print(load_table(f"database, {way}", loads))


def show_lookups(console, found):
    console.print(load_table("look-ups in a ledger", found))


def load_table(title, loads):
    table = Table(*loads[0], title=title)
    for load in loads:
        table.add_row(*map(format_value, load.values()))
    return table


def format_value(value):
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


SHOW = {"statements": show_statements, "broker": show_broker, "ledger": show_ledger, "lookups": show_lookups}

if __name__ == "__main__":
    main()
