"""Does input starve a fit? Images a second from the pixel cache over the same step on batches held in memory.

    python -m tests.benchmarks.bench_fit [--encoder densenet121] [--size 128] [--steps 12] [--rounds 5] [--out FILE]

Both kinds of epoch run interleaved in one process, on the same scans (phantoms); the ratio is of medians. Then the
memory of a process that decodes and deals 1,000, 10,000 and 100,000 scans: what is its own (RssAnon), for pages of the
memory-mapped file belong to the system, which takes them back when it needs them.
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
    """Measure both, print them and write them down; or, with `--memory`, be one of the processes."""
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
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="densenet121", help="(default %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="of the input (default %(default)s)")
    parser.add_argument("--steps", type=int, default=12, help="in an epoch (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of both kinds of epoch (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("bench_fit.json"), help="JSON (default %(default)s)")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def images_in(folder: Path, count: int) -> list[FoundImage]:
    """So many scans: the phantoms again and again, each a scan of its own to the cache."""
    paths = sorted(str(path) for path in (folder / "images").iterdir())
    return [FoundImage(location=paths[at % len(paths)], version=str(at)) for at in range(count)]


def measure_speed(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Images a second of epochs from the cache and from memory, and their ratio."""
    import keras

    from trainer.network.batches import TrainingBatches
    from trainer.network.compiled_model import compile_model
    from trainer.network.hardware import dtype_policy
    from trainer.network.model import build_model

    class FromMemory(keras.utils.PyDataset):  # type: ignore[misc]
        """The first batches of an epoch, made once."""

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
    """Figures of one count, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_fit", "--memory", folder, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    print("  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
    return figures


def memory_of(folder: Path, count: int) -> dict[str, Any]:
    """Decode so many scans at 64x64 into a cache, then make every batch of two epochs."""
    import keras  # noqa: F401 - so that its memory counts in the base

    from trainer.network.batches import TrainingBatches

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
    """The process' own memory, looked at ten times a second."""

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
        """In MiB: the peak, and how much of it came with the work."""
        return {"peak_mib": round(self._peak, 1), "grown_mib": round(self._peak - self._base, 1)}


def own_memory() -> float:
    """RssAnon of this process, in MiB."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    main()
