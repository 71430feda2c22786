"""Scans per second of each runtime on this machine's CPU, model alone, with load time and peak memory.

Each way runs in a process of its own, and they take turns. Ratios are taken within a round, medians over rounds.
Other programs disturb wall-clock rates more than rates per CPU second. The network is not fitted.

    python -m tests.benchmarks.bench_runtimes [--rounds 9] [--batches 1] [--ways keras openvino]
"""

import argparse
import os
import resource
import shutil
import statistics
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from tests.benchmarks.bench_throughput import BATCH, ROOT, script
from tests.support.world import radiograph, write_images
from worker.artifacts.artifact import load_artifact
from worker.images.pixels import preprocess

#: Runtime, Keras' backend, and whether XLA compiles on the CPU as on a GPU. Ratios are to the first of each precision.
RUNTIMES = {
    "keras on tensorflow": ("keras", "tensorflow", False),
    "keras on tensorflow, XLA": ("keras", "tensorflow", True),
    "keras on jax": ("keras", "jax", True),
    "openvino": ("openvino", "tensorflow", False),
}
WAYS = {(name, precision): runtime for precision in ("float32", "bfloat16") for name, runtime in RUNTIMES.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=1, help="batches of each way in a round")
    parser.add_argument("--ways", nargs="+", default=[""], help="only ways with one of these words in their name")
    options = parser.parse_args()
    folder = ROOT / "build" / "bench" / "runtimes"
    shutil.rmtree(folder, ignore_errors=True)
    write_images(folder / "images", range(64))
    artifact = Path(script("make_model.py", folder / "models", folder / "images", BATCH)["artifact"])
    pipes = {way: start(artifact, way) for way in WAYS if any(word in " ".join(way) for word in options.ways)}
    loads = {way: pipe.recv() for way, pipe in pipes.items()}
    rounds = []
    for _ in range(options.rounds):
        found = {}
        for way, pipe in pipes.items():
            pipe.send(options.batches)
            found[way] = pipe.recv()
        rounds.append(found)
    show(rounds, loads)


def start(artifact, way):
    """A pipe to a new process that has loaded the model; the next one is started only then."""
    ours, theirs = get_context("spawn").Pipe()
    get_context("spawn").Process(target=serve, args=(theirs, artifact, way), daemon=True).start()
    ours.poll(None)
    return ours


def serve(pipe, artifact, way):
    runtime, os.environ["KERAS_BACKEND"], with_xla = WAYS[way]
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.monotonic(), time.process_time()
    if with_xla:
        from worker.scoring.runtimes import keras

        keras.has_gpu = lambda: True
    from worker.scoring.open_scorer import open_scorer

    loaded = load_artifact(artifact)
    scorer = open_scorer(loaded, runtime, way[1])
    pixels = np.stack([preprocess(radiograph(number), loaded.manifest.preprocessing) for number in range(BATCH)])
    pipe.send((time.monotonic() - started[0], time.process_time() - started[1]))
    while True:
        batches, started = pipe.recv(), (time.monotonic(), time.process_time())
        for _ in range(batches):
            scorer.score(pixels)
        seconds = time.monotonic() - started[0], time.process_time() - started[1]
        rates = [batches * BATCH / each for each in seconds]
        pipe.send((*rates, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def show(rounds, loads):
    for way in rounds[0]:
        base = next(other for other in rounds[0] if other[1] == way[1])
        wall, cpu = (sorted(each[way][at] / each[base][at] for each in rounds) for at in (0, 1))
        rate, per_cpu_second, memory = (statistics.median(each[way][at] for each in rounds) for at in range(3))
        print(
            f"{' '.join(way):35} {rate:6.1f} scans/s, {statistics.median(wall):.2f} ({wall[0]:.2f}-{wall[-1]:.2f}) of"
            f" {base[0]}'s; {per_cpu_second:6.1f} per CPU second,"
            f" {statistics.median(cpu):.2f} ({cpu[0]:.2f}-{cpu[-1]:.2f});"
            f" loaded in {loads[way][0]:.0f} s ({loads[way][1]:.0f} CPU s), peak {memory:.0f} MiB"
        )


if __name__ == "__main__":
    main()
