"""Measures whether a fit waits for its input: images per second from the pixel cache and from batches in memory.

    python -m tests.benchmarks.bench_fit [--encoder densenet121] [--size 128] [--steps 12] [--rounds 5] [--out FILE]

Both kinds of epoch alternate in one process on the same scans (phantoms); the ratio is of medians. Then follows the
memory of a process that decodes 1,000, 10,000 and 100,000 scans and makes batches of them. It is the process's own
memory (RssAnon), because pages of the memory-mapped file belong to the system, which reclaims them when needed.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from db.ledger.scans import FoundImage
from trainer.data.decoded_images import load_decoded_images
from trainer.phantoms.generate import make_phantoms
from trainer.recipe import Recipe, make_recipe

COUNTS = (1_000, 10_000, 100_000)


def main() -> None:
    """Measure, print and write both; with `--memory`, run as one of the measured processes."""
    options = parse()
    if options.memory:
        folder, count = options.memory
        print(json.dumps(memory_of(Path(folder), int(count))))
        return
    with TemporaryDirectory() as folder:
        make_phantoms(Path(folder), patients=60, seed=0)
        speed = measure_speed(Path(folder), options)
        print("  ".join(f"{name} {value}" for name, value in speed.items()), flush=True)
        memory = [in_process(folder, count) for count in COUNTS]
    options.out.write_text(json.dumps({"speed": speed, "memory": memory}, indent=1))


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="densenet121", help="encoder of the network (default %(default)s)")
    parser.add_argument(
        "--size", type=int, default=128, help="height and width of the input in pixels (default %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=12, help="steps of an epoch (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="number of epochs of each kind (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench_fit.json"), help="JSON file to write (default %(default)s)"
    )
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def images_in(folder: Path, count: int) -> list[FoundImage]:
    """`count` images: the phantoms repeatedly, each a different scan to the cache."""
    paths = sorted(str(path) for path in (folder / "images").iterdir())
    return [FoundImage(location=paths[at % len(paths)], version=str(at)) for at in range(count)]


def measure_speed(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Images per second of epochs from the cache and from memory, and their ratio."""
    from trainer.network.batches import TrainingBatches
    from trainer.network.compiled_model import compile_model
    from trainer.network.hardware import dtype_policy
    from trainer.network.model import build_model
    from worker.artifacts.keras_import import keras

    class FromMemory(keras.utils.PyDataset):  # type: ignore[misc]
        """The batches of an epoch, made once and kept in memory."""

        def __init__(self, batches: TrainingBatches) -> None:
            super().__init__()
            self._made = [batches[index] for index in range(len(batches))]

        def __len__(self) -> int:
            return len(self._made)

        def __getitem__(self, index: int) -> Any:
            return self._made[index]

    recipe = make_recipe("best", encoder=options.encoder, size=options.size)
    scans = options.steps * recipe.batch_size
    cache = load_decoded_images(folder / "pixels", images_in(folder, scans), recipe.preprocessing)
    labels = np.random.default_rng(0).integers(0, 2, (scans, 15)).astype(np.float32)
    batches = TrainingBatches(cache.pixels, np.arange(scans), labels, recipe)
    kinds: dict[str, Any] = {"cache": batches, "memory": FromMemory(batches)}
    with dtype_policy(recipe.precision) as policy:
        findings = tuple(f"finding {number}" for number in range(15))
        learner = compile_model(build_model(recipe, findings), labels, recipe, steps=1000)
    learner.fit(kinds["memory"], verbose=0)
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(options.rounds):
        batches.start_epoch(number)
        for kind, dataset in kinds.items():
            began = time.perf_counter()
            learner.fit(dataset, shuffle=False, verbose=0)
            rates[kind].append(scans / (time.perf_counter() - began))
    found = {kind: round(median(some), 1) for kind, some in rates.items()}
    return {
        "encoder": options.encoder,
        "size": options.size,
        "policy": policy,
        "backend": keras.backend.backend(),
        **{f"images_per_second_from_{kind}": rate for kind, rate in found.items()},
        "share": round(median(rates["cache"]) / median(rates["memory"]), 3),
    }


def in_process(folder: str, count: int) -> dict[str, Any]:
    """Figures of one count in its own process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_fit", "--memory", folder, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    print("  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
    return figures


def memory_of(folder: Path, count: int) -> dict[str, Any]:
    """Decode `count` scans at 64x64 into a cache, and make every batch of two epochs."""
    from trainer.network.batches import TrainingBatches
    from worker.artifacts.keras_import import keras  # noqa: F401 - its memory must count as the base

    recipe: Recipe = make_recipe("best", size=64)
    images = images_in(folder, count)
    with MemoryMonitor() as monitor:
        began = time.perf_counter()
        cache = load_decoded_images(folder / "pixels", images, recipe.preprocessing)
        decoded = time.perf_counter() - began
        batches = TrainingBatches(cache.pixels, np.arange(count), np.zeros((count, 15), np.float32), recipe)
        for epoch in range(2):
            batches.start_epoch(epoch)
            for index in range(len(batches)):
                _ = batches[index]
    return {"scans": count, "seconds_to_decode": round(decoded, 1), **monitor.figures()}


class MemoryMonitor:
    """Records the peak of this process's own memory, sampled ten times per second."""

    def __enter__(self) -> Self:
        self._base = self._peak = own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self._peak = max(self._peak, own_memory())

    def figures(self) -> dict[str, float]:
        """The peak in MiB, and how much of it the work added."""
        return {"peak_mib": round(self._peak, 1), "grown_mib": round(self._peak - self._base, 1)}


def own_memory() -> float:
    """RssAnon of this process, in MiB."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    main()
