"""Measures scans per second on this machine's GPU, end to end and from the pixel cache, beside its limits.

It runs Keras on the backend in `KERAS_BACKEND`, Valkey with its file, and PostgreSQL with fsync. The network is not
fitted.

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_gpu [--processes 1 2 4] [--scans 20000]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.benchmarks.bench_throughput import COMPILED, ROOT, WARM, hits_in, lay_out, run, script
from tests.benchmarks.scale.parallel_processes import run_in_parallel, wall_seconds
from tests.benchmarks.scale.postgres_of_scale import DurablePostgres, new_database
from tests.support.valkey import Valkey
from tests.support.world import World, wait_until
from worker.images.pixels import to_pixels
from worker.images.preprocessing import Preprocessing
from worker.messaging.celery_app import make_app
from worker.messaging.heartbeats import read_heartbeats
from worker.settings import WorkerSettings
from worker.supervision.worker_process import KEEP_MEMORY

#: A batch size that suits a GPU.
BATCH = 128
#: Files with distinct pixels; the other files are hard links to them under other names.
DISTINCT = 2000
LEDGER_BATCHES = 200
#: How often the processes that only decode repeat a tenth of the files.
ROUNDS = 10


def main():
    options = parse()
    csv = repeat_files(lay_out(options.folder / f"films-{DISTINCT}", options.images, DISTINCT), options.scans)
    # For every process that starts from here, as for a worker.
    os.environ.update(KEEP_MEMORY)
    # Each saved model differs, because Keras records when it was saved.
    shutil.rmtree(options.folder / "models", ignore_errors=True)
    artifact = Path(
        script("make_model.py", options.folder / "models", distinct_images(options), BATCH, JAX_PLATFORMS="cpu")[
            "artifact"
        ]
    )
    figures = {"cores": os.cpu_count(), "scans": options.scans}

    def keep(found):
        figures.update(found)
        options.out.write_text(json.dumps(figures, indent=2))
        print(json.dumps(found, indent=2), flush=True)

    limits = script("limits.py", artifact, distinct_images(options), "keras", "auto")
    keep({f"limit: {name}": rate for name, rate in limits.items()})
    for processes in options.processes:
        answers = run_in_parallel(
            processes, decode_files, distinct_images(options), max(1, os.cpu_count() // processes)
        )
        rate = sum(answer["scans"] for answer in answers) / wall_seconds(answers)
        keep({f"limit: decoding alone, in {processes} processes": rate})
    keep({f"limit: ledger, {load['connections']} connections": load["scans/s"] for load in measure_ledger(options)})
    for processes in options.processes:
        keep({f"{processes} processes": through_the_queue(artifact, csv, processes, options.gpus)})


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "nih1024" / "images")
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1, 2, 4], help="numbers of scoring processes that share the GPU"
    )
    parser.add_argument("--gpus", default="0", help="GPUs, in the form of `worker start --gpus`")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench-gpu")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench-gpu" / "gpu.json")
    return parser.parse_args()


def distinct_images(options):
    return options.folder / f"films-{DISTINCT}" / "images"


def measure_ledger(options):
    """Scans per second that the database alone accepts, by the number of connections."""
    out = options.folder / "ledger.json"
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bench_scale",
        "--parts",
        "ledger",
        "--batches",
        LEDGER_BATCHES,
        "--out",
        out,
    ]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())["ledger"]["as workers write"]


def decode_files(number, ready, images, threads):
    """Decode the files repeatedly in one of several processes."""
    files = [path.read_bytes() for path in sorted(images.iterdir())[: DISTINCT // 10]]
    one = partial(to_pixels, rule=Preprocessing())
    with ThreadPoolExecutor(threads) as pool:
        # Warm up everything that is loaded late.
        list(pool.map(one, files))
        ready()
        scans = sum(1 for _ in pool.map(one, files * ROUNDS))
    return {"scans": scans}


def repeat_files(csv, scans):
    """Returns a labels CSV of `scans` scans that repeats the files of another CSV."""
    folder = csv.parent / f"scans-{scans}"
    table = folder / "labels.csv"
    if not table.exists():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        header, *rows = csv.read_text().splitlines()
        lines = [header]
        for number in range(scans):
            name, rest = rows[number % len(rows)].split(",", 1)
            own = f"{number // DISTINCT:02d}{name[2:]}"
            os.link(csv.parent / "images" / name, folder / "images" / own)
            lines.append(f"{own},{rest}")
        table.write_text("\n".join(lines) + "\n")
    return table


def through_the_queue(artifact, csv, processes, gpus):
    """Scans per second of a run that decodes every scan, and of one that finds every scan in the pixel cache."""
    valkey, postgres = Valkey(), DurablePostgres()
    with tempfile.TemporaryDirectory(prefix="nightread-bench-") as home:
        env = {
            "CXR_HOME": home,
            "CXR_BROKER_URL": f"redis://127.0.0.1:{valkey.port}/0",
            "CXR_DATABASE_URL": new_database(postgres),
            "CXR_MODEL_DIR": str(artifact.parent),
            "CXR_RUNTIME": "keras",
            "CXR_PER_GPU": str(processes),
            **COMPILED,
        }
        world = World(home=Path(home), env=env)
        try:
            return measure(world, csv, processes, gpus)
        finally:
            world.stop()
            postgres.close()
            valkey.close()


def measure(world, csv, processes, gpus):
    figures = {"start to a loaded model, s": start(world, processes, gpus)}
    first = csv.with_name("first.csv")
    first.write_text("\n".join(csv.read_text().splitlines()[: WARM * processes + 1]) + "\n")
    run(world, first, 1)
    figures["scans/s"] = run(world, csv, 2)
    world.stop()
    world.env["CXR_PIXEL_CACHE_GB"] = "10"
    start(world, processes, gpus)
    # This run reads each distinct file from the source once, and then from the cache.
    run(world, csv, 3, "--rescore")
    figures["scans/s from the pixel cache"] = run(world, csv, 4, "--rescore")
    figures["scans from the pixel cache"] = hits_in(world, 4)
    return figures


def start(world, processes, gpus):
    """Start a supervisor, and return the seconds until all of its scoring processes have loaded the model."""
    world.start("worker.cli", "start", "--gpus", gpus)
    app = make_app(WorkerSettings(home=world.home, broker_url=world.env["CXR_BROKER_URL"]), world.ledger)
    idle = ["idle"] * processes
    return wait_until(lambda: [heartbeat.state for heartbeat in read_heartbeats(app)] == idle, 400, "loaded models")


if __name__ == "__main__":
    main()
