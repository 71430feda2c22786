"""Scans a second on the CPU, end to end, beside what a user would pick instead and beside the machine's own limits.

Every way scores the same files with the same model, in turns; ratios are taken within a round, and medians over rounds.
Where two ways compute alike their scores are compared: a faster wrong answer does not count.

    python -m tests.benchmarks.bench_throughput [--images ../shared/data/nih1024/images] [--scans 2000] [--rounds 3]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from db.findings import FINDINGS, column_of
from tests.benchmarks.throughput.films import lay_out
from tests.support.world import World, wait_until
from worker.artifacts.exports import OPENVINO_FILE, OPENVINO_INT8_FILE
from worker.artifacts.manifest import MODEL_FILE

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "throughput"
PEERS = Path(__file__).with_name("requirements.lock")
#: How far scores may lie apart where two ways compute in the same precision on the same runtime, and on another.
ALIKE = 1e-4
#: Beside float32 in Keras. The network is not fitted: it magnifies what little scans differ in, and the rounding.
#: What int8 costs a fitted one `trainer export --int8` bounds; here only peers are held to it.
BOUNDS = {"float32": ALIKE, "bfloat16": 0.35, "int8": 1.0}
#: What is not in int8 is in bfloat16.
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}
RUNTIMES = (
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
    ("openvino", "float32"),
    ("keras", "bfloat16"),
    ("keras", "float32"),
)

#: The manifest's default.
BATCH = 32
#: Scans before the clock runs: a worker then knows its speed, and has loaded all that it loads.
WARM = 128
#: As on a machine that has scored before: the quick reader of PNGs is compiled once, for 3 s.
COMPILED = {"NUMBA_CACHE_DIR": str(ROOT / "build" / "bench" / "compiled")}
#: Every name has it.
ALL = [""]
#: Decoder and precision of the plain scripts.
PLAIN = (("nightread", "bfloat16"), ("cv2", "bfloat16"), ("nightread", "int8"), ("nightread", "float32"))


def main():
    options = parse()
    csv = lay_out(options.folder / f"films-{options.scans}", options.images, options.scans)
    # Each is another: Keras notes when it was saved.
    shutil.rmtree(options.folder / "models", ignore_errors=True)
    artifact = Path(script("make_model.py", options.folder / "models", csv.parent / "images", BATCH)["artifact"])
    peers = peers_python(options.folder / "peers")
    rounds = []
    for number in range(options.rounds):
        found = {}
        ways = [way for way in all_ways(artifact, csv, peers) if any(word in way[0] for word in options.ways)]
        # In another order each time: what comes first finds a cooler machine.
        for name, way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            found |= way()
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
        rounds.append(found)
        figures = {"cores": os.cpu_count(), "scans": options.scans, "rounds": rounds}
        options.out.write_text(json.dumps(figures, indent=2))
    show(rounds)
    print(options.out)
    if options.ways == ALL:
        compare()


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "nih1024" / "images")
    parser.add_argument("--scans", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--ways", nargs="+", default=ALL, metavar="WORD", help="only those with such a word in their name"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "throughput.json")
    return parser.parse_args()


def script(name, *arguments, python=sys.executable, **environment):
    """Run a script in a process of its own, so that no way warms another; gives the JSON that it prints last."""
    done = subprocess.run(
        [python, HERE / name, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **COMPILED, **environment},
    )
    return json.loads(done.stdout.splitlines()[-1])


def peers_python(folder):
    """The Python of the peers' own environment, which is created on first use."""
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [folder / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r", PEERS]
        subprocess.run(install, check=True)
        (folder / "installed").touch()
    return folder / "bin" / "python"


def all_ways(artifact, csv, peers):
    """Each way by its name: a function that gives figures by their names."""
    images = csv.parent / "images"
    graph = artifact / OPENVINO_FILE
    ways = [(f"nightread, {r} {p}", lambda r=r, p=p: nightread(artifact, csv, r, p)) for r, p in RUNTIMES]
    ways += [
        (f"plain script, {decoder}, {precision}", lambda d=decoder, p=precision: plain(artifact, images, p, d))
        for decoder, precision in PLAIN
    ]
    ways.append(("Ray Data", lambda: ray(graph, images, peers)))
    ways.append(("mini project", lambda: mini_project(artifact, images)))
    ways.append(("limits", lambda: limits(artifact, images)))
    return ways


def mini_project(artifact, images):
    """One process, `model.predict`."""
    return named("mini project", script("mini_project.py", artifact / MODEL_FILE, images, scores_file("mini project")))


def plain(artifact, images, precision, decoder):
    """Threads ahead of OpenVINO."""
    graph = artifact / (OPENVINO_INT8_FILE if precision == "int8" else OPENVINO_FILE)
    name = f"plain script, {decoder}, openvino {precision}"
    return named(name, script("plain_script.py", graph, images, scores_file(name), HINTS[precision], decoder))


def ray(graph, images, peers):
    """Ray Data in its own environment."""
    name = "Ray Data, cv2, openvino bfloat16"
    found = script("ray_data.py", graph, images, scores_file(name), "bf16", python=peers, PYTHONPATH="")
    return {f"{name}, with the start of its actor": found["scans/s"], name: found["scans/s, warm"]}


def limits(artifact, images):
    """Of the machine, in the precision that `auto` takes."""
    return {f"limit: {name}": rate for name, rate in script("limits.py", artifact, images, "openvino", "auto").items()}


def named(name, found):
    return {name: found["scans/s"]}


def scores_file(name):
    return Path(tempfile.gettempdir()) / f"nightread-scores-{name.replace(' ', '-').replace(',', '')}.npy"


def nightread(artifact, csv, runtime, precision):
    """Through queue and SQL, then once more from the pixel cache: the second time the cache alone differs."""
    name = f"nightread, {runtime} {precision}"
    with tempfile.TemporaryDirectory(prefix="nightread-bench-") as home:
        env = {
            "CXR_HOME": home,
            "CXR_MODEL_DIR": str(artifact.parent),
            "CXR_RUNTIME": runtime,
            "CXR_PRECISION": precision,
            **COMPILED,
        }
        world = World(home=Path(home), env=env)
        try:
            return measure(name, world, csv, cached=(runtime, precision) == RUNTIMES[0])
        finally:
            world.stop()


def measure(name, world, csv, *, cached):
    first = csv.with_name("first.csv")
    first.write_text("\n".join(csv.read_text().splitlines()[: WARM + 1]) + "\n")
    world.producer("enqueue", "--csv", first)
    started = time.monotonic()
    worker = world.worker()
    scored = "SELECT count(*) FROM scores"
    wait_until(lambda: world.rows(scored) != [(0,)], seconds=300, what="the first score")
    figures = {f"{name}: start to first score, s": time.monotonic() - started}
    wait_until(lambda: world.rows(scored) == [(WARM,)], seconds=300, what="a warm worker")
    figures[name] = run(world, csv, 2)
    keep_scores(name, world, 2)
    figures |= {f"{name}: {what}": size for what, size in memory(worker).items()}
    if cached:
        world.stop()
        world.env["CXR_PIXEL_CACHE_GB"] = "10"
        world.worker()
        run(world, csv, 3, "--rescore")
        figures[f"{name}, from the pixel cache"] = run(world, csv, 4, "--rescore")
        keep_scores(f"{name}, from the pixel cache", world, 4)
        figures[f"{name}: scans from the pixel cache in its second run"] = hits_in(world, 4)
    return figures


def hits_in(world, number):
    return sum(int(hits) for hits in re.findall(rf"for run {number}: .* (\d+) from the pixel cache", world.logs()))


def run(world, csv, number, *options):
    """Scans a second from a run's opening to its end."""
    world.producer("enqueue", "--csv", csv, *options)
    query = f"SELECT count(*) FROM runs WHERE id = {number} AND finished_at IS NOT NULL"
    wait_until(lambda: world.rows(query) == [(1,)], 1200, f"run {number}'s end")
    ((scans, reused),) = world.rows(f"SELECT scored, reused FROM run_progress WHERE run_id = {number}")
    ((opened, closed),) = world.rows(f"SELECT created_at, finished_at FROM runs WHERE id = {number}")
    # SQLite has no times but text.
    opened, closed = (datetime.fromisoformat(str(moment)) for moment in (opened, closed))
    return (scans - reused) / (closed - opened).total_seconds()


def keep_scores(name, world, number):
    columns = ", ".join(column_of(finding) for finding in FINDINGS)
    rows = world.rows(f"SELECT {columns} FROM results_wide WHERE run_id = {number} ORDER BY image_name")
    np.save(scores_file(name), np.array(rows, np.float64))


def memory(worker):
    """Peak resident MiB of supervisor, celery parent and scoring child."""
    supervisor = psutil.Process(worker.pid)
    parent = next(p for p in supervisor.children() if "celery" in " ".join(p.cmdline()))
    child = max(parent.children(), key=lambda process: process.memory_info().rss)
    names = ("supervisor, MiB", "Celery's parent, MiB", "scoring process, MiB")
    return {name: peak(process.pid) for name, process in zip(names, (supervisor, parent, child), strict=True)}


def peak(pid):
    lines = Path("/proc", str(pid), "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def show(rounds):
    """Ratios of ours in three precisions over each way, medians and ranges over rounds; then times and sizes."""
    rates = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    ours = [f"nightread, openvino {precision}" for precision in ("bfloat16", "int8", "float32")]
    ours = [name for name in ours if name in rates]
    table = Table("", "scans/s", *(f"{name.split()[-1]} over it" for name in ours))
    for name, rate in rates.items():
        if is_size(name):
            continue
        ratios = [sorted(each[mine] / each[name] for each in rounds) for mine in ours]
        table.add_row(name, f"{rate:.1f}", *(f"{statistics.median(r):.2f} ({r[0]:.2f}-{r[-1]:.2f})" for r in ratios))
    console = Console(width=130)
    console.print(table)
    for name, value in rates.items():
        if is_size(name):
            console.print(f"{name:>70}  {value:.1f}")


def is_size(name):
    """Whether a figure is a time, a size or a count, not a rate."""
    return ", s" in name or "MiB" in name or "scans from" in name


def compare():
    """How far apart the scores are: of each way from float32 in Keras, and of peers on OpenVINO from ours."""
    exact, ours = load("nightread, keras float32"), load("nightread, openvino bfloat16")
    for runtime, precision in RUNTIMES:
        name = f"nightread, {runtime} {precision}"
        check(name, "float32 in Keras", exact, BOUNDS[precision])
    check("plain script, nightread, openvino int8", "nightread's", load("nightread, openvino int8"), ALIKE)
    check("plain script, nightread, openvino float32", "float32 in Keras", exact, ALIKE)
    for name in (
        "nightread, openvino bfloat16, from the pixel cache",
        "plain script, nightread, openvino bfloat16",
        "plain script, cv2, openvino bfloat16",
        "Ray Data, cv2, openvino bfloat16",
    ):
        check(name, "nightread's in bfloat16 on OpenVINO", ours, ALIKE)


def check(name, other, scores, bound):
    difference = np.abs(load(name) - scores).max()
    print(f"{name}: scores differ from {other} by at most {difference:.2g} (bound {bound:g})")
    if not difference <= bound:
        sys.exit("a faster wrong answer does not count")


def load(name):
    return np.load(scores_file(name))


if __name__ == "__main__":
    main()
