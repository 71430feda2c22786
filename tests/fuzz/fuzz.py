"""Feeds mutated inputs to the readers, each target in a process of its own, and prints what came of them.

    python -m tests.fuzz.fuzz [images tables wires] [--count 100000] [--plain 50000] [--seed N] [--out build/fuzz]

`--count` mutations are guided by the branches that they reach (atheris), then `--plain` ones are not, and show whether
memory grows: a guided process keeps what it learns. Findings are kept under --out as files. Exit 1 where there are any.
"""

import argparse
import json
import random
import secrets
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Whose branches guide the fuzzer.
_READERS = [
    *(
        "worker.images.formats",
        "worker.images.tiff",
        "worker.images.bit_depth",
        "worker.images.pixels",
        "worker.images.png",
        "PIL.TiffImagePlugin",
    ),
    *("db.labels.csv_file", "db.labels.text", "db.labels.table", "db.labels.columns", "db.labels.cells"),
    *("worker.messaging.messages", "worker.artifacts.manifest", "worker.artifacts.artifact"),
]
#: A guided input that takes longer than this counts as a hang.
HANG_SECONDS = 60


def main():
    """The parent: one child after another, and a table."""
    options = _options()
    print(f"seed {options.seed}")
    bad = False
    for name in options.targets:
        for engine, count in (("guided", options.count), ("plain", options.plain)):
            if count:
                bad |= _run_child(name, engine, count, options)
    sys.exit(bad)


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=["images", "tables", "wires"])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--plain", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_child(name, engine, count, options):
    """Whether anything was found. A crash of the child is a finding, too; the fuzzer keeps its input."""
    out = options.out / f"{name}-{engine}"
    command = [sys.executable, "-m", "tests.fuzz.fuzz", name, "--child", engine, "--count", str(count)]
    done = subprocess.run(
        ["nice", "-n", "10", *command, "--seed", str(options.seed), "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    figures = json.loads((out / "figures.json").read_text()) if (out / "figures.json").exists() else {}
    crashed = done.returncode != 0 or figures.get("mutations", 0) < count
    print(json.dumps({"target": name, "engine": engine, "crashed": crashed, **figures}), flush=True)
    if crashed:
        (out / "stderr.txt").write_text(done.stderr)
        print(done.stderr[-2000:], file=sys.stderr)
    return crashed or bool(figures.get("findings"))


def child():
    """One target in this process, by one engine."""
    options = _options()
    {"guided": _guided, "plain": _plain}[options.child](options)


def _plain(options):
    from tests.fuzz.fuzz_run import FuzzRun
    from tests.fuzz.targets import TARGETS

    target = TARGETS[options.targets[0]]
    run, rng, originals = FuzzRun(target.judge, options.out), random.Random(options.seed), target.seeds()
    for _ in range(options.count):
        run.try_input(target.mutated(rng.choice(originals), rng, originals))
    run.save()


def _guided(options):
    import atheris

    with atheris.instrument_imports(include=_READERS):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.fuzz_run import FuzzRun

    target = TARGETS[options.targets[0]]
    run, originals = FuzzRun(target.judge, options.out), target.seeds()
    corpus = options.out / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, content in enumerate(originals):
        (corpus / f"seed-{number}").write_bytes(content)

    def mutator(content, size, seed):
        rng = random.Random(seed)
        return target.mutated(content, rng, originals)[:size] if rng.random() < 0.7 else atheris.Mutate(content, size)

    def one(content):
        run.try_input(content)
        if run.calls % 5000 == 0 or run.calls >= options.count:
            run.save()

    atheris.Setup(
        [
            *(
                sys.argv[0],
                f"-runs={options.count}",
                f"-seed={options.seed}",
                f"-timeout={HANG_SECONDS}",
                "-max_len=100000",
            ),
            *("-rss_limit_mb=6000", f"-artifact_prefix={options.out}/crash-", "-print_final_stats=1", str(corpus)),
        ],
        one,
        custom_mutator=mutator,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    child() if any(word.startswith("--child") for word in sys.argv) else main()
