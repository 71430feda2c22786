"""Tries what may make a better fit, and prints a table of validation AUROCs and paired differences to the baseline.

    python -m tests.benchmarks.bench_recipes [--tries baseline,mixup,mixup+averaging] [--encoder densenet121]
        [--size 128] [--epochs 30] [--csv FILE] [--minutes 9] [--out FOLDER]

All tries have the split of `trainer fit` with the recipe's own shares and seed, so that they are validated on the same
scans; no try looks at test labels, except that two of them fit on test scans too. Each finished try is a file, so
the same command goes on where it was interrupted, in the midst of a try as well. It runs on the backend in
`KERAS_BACKEND`, on a GPU if there is one.

Where commands may take ten minutes at most:

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_recipes --minutes 9 --tries baseline,mixup

The figures choose among many tries by one set of scans. A gain counts only if its interval lies above 0, and it is
confirmed with other seeds.
"""

import argparse
import os
import time
from pathlib import Path

from tests.benchmarks.recipes.tries import TRIES, Try, find_tries
from worker.processes import native_stderr_muted

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run the tries that are not finished, and print the table of all that are."""
    options = parse()
    folder = options.out / f"{options.encoder}-{options.size}-{options.epochs}"
    folder.mkdir(parents=True, exist_ok=True)
    # XLA takes minutes for a DenseNet121; JAX alone reads this.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(options.out / "compiled"))
    missing = [one for one in options.tries if not (folder / f"{one.name}.json").exists()]
    is_finished = run_tries(missing, folder, options)
    from tests.benchmarks.recipes.table import markdown, read_outcomes

    text = markdown(read_outcomes(folder))
    (folder / "table.md").write_text(text + "\n")
    print(text)
    if not is_finished:
        print("out of time: the same command goes on")


def run_tries(missing: list[Try], folder: Path, options: argparse.Namespace) -> bool:
    """Whether all were finished in time."""
    with native_stderr_muted():
        from tests.benchmarks.recipes.fits import OutOfTime, Setting, run_try
        from tests.benchmarks.recipes.table import write_outcome
    from trainer.data.training_data import Source

    setting = Setting(
        source=Source(csv=options.csv, images=options.images),
        encoder=options.encoder,
        size=options.size,
        epochs=options.epochs,
        folder=folder,
        deadline=time.monotonic() + 60 * options.minutes,
    )
    for one in missing:
        if time.monotonic() > setting.deadline:
            return False
        try:
            write_outcome(folder, run_try(one, setting))
        except OutOfTime:
            return False
    return True


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="tries:\n" + "\n".join(f"  {one.name}: {one.about}" for one in TRIES.values()).replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--tries",
        type=find_tries,
        default=list(TRIES.values()),
        help="names, or several joined by +, separated by commas (default: all)",
    )
    parser.add_argument("--encoder", default="densenet121", help="encoder of the network (default %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="the baseline's epochs at most (default %(default)s)")
    parser.add_argument(
        "--csv",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "nih128" / "labels.csv",
        help="labels CSV (default %(default)s)",
    )
    parser.add_argument("--images", help="folder of the images (default: beside the CSV)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=60.0 * 24 * 365,
        help="begin no epoch after this many minutes (default: unlimited)",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "recipes", help="folder of all files (default %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
