"""Fuzzes the readers, each target in a process of its own, and prints the results.

    python -m tests.fuzz.fuzz [images films headers real-films tables wires]
                              [--count 100000] [--plain 50000] [--seed N] [--out build/fuzz]

First atheris guides `--count` mutations by the branches that they reach. Then `--plain` unguided mutations show whether
memory grows; a guided process keeps what it learns. Findings are written under --out; then the exit code is 1.
"""

import argparse
import faulthandler
import json
import random
import secrets
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The modules whose branches guide the fuzzer.
_READERS = [
    *(
        "worker.images.formats",
        "worker.images.tiff",
        "worker.images.bit_depth",
        "worker.images.pixels",
        "worker.images.png",
        "PIL.TiffImagePlugin",
    ),
    *(f"worker.dicom.{name}" for name in ("codecs", "dataset", "fragments", "frames", "header", "jpeg_stream")),
    *(f"worker.dicom.{name}" for name in ("admission", "lookup_tables", "rendering", "stored_values", "window")),
    *("pydicom.filereader", "pydicom.dataelem", "pydicom.values"),
    *("db.labels.csv_file", "db.labels.text", "db.labels.table", "db.labels.columns", "db.labels.cells"),
    *("db.labels.words", "db.labels.row_labels", "db.labels.label_row"),
    *("worker.messaging.messages", "worker.artifacts.manifest", "worker.artifacts.artifact"),
]
#: How many mutations of real films are tried.
_REAL_FILMS = 1000
#: A call that takes longer hangs.
_HANG_SECONDS = 60


def main():
    """The parent process: run one child after another and print a line for each."""
    options = _options()
    print(f"seed {options.seed}")
    bad = False
    for name in options.targets:
        for engine, count in _engines(name, options):
            if count:
                bad |= _run_child(name, engine, count, options)
    sys.exit(bad)


def _engines(name, options):
    """Real films are large, and absent on most machines."""
    if name != "real-films":
        return [("guided", options.count), ("plain", options.plain)]
    from tests.fuzz.dicom_seeds import real_films

    return [("plain", min(options.plain, _REAL_FILMS))] if real_films() else []


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=["images", "films", "headers", "real-films", "tables", "wires"])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--plain", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_child(name, engine, count, options):
    """Run a child; return whether anything was found. A crash is a finding too, whose input the fuzzer keeps."""
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
    """The child process: run one target with one engine."""
    options = _options()
    {"guided": _guided, "plain": _plain}[options.child](options)


def _plain(options):
    from tests.fuzz.fuzz_statistics import Statistics
    from tests.fuzz.targets import TARGETS

    target = TARGETS[options.targets[0]]
    statistics, rng, originals = Statistics(target.oracle, options.out), random.Random(options.seed), target.seeds()
    faulthandler.enable()
    for _ in range(options.count):
        content = target.mutated(rng.choice(originals), rng, originals)
        # If it ends the process, it stays.
        (options.out / "last").write_bytes(content)
        faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
        statistics(content)
    faulthandler.cancel_dump_traceback_later()
    statistics.save()


def _guided(options):
    import atheris

    # numba cannot compile what atheris has instrumented.
    import worker.dicom.huffman  # noqa: F401

    with atheris.instrument_imports(include=_READERS):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.fuzz_statistics import Statistics

    target = TARGETS[options.targets[0]]
    statistics, originals = Statistics(target.oracle, options.out), target.seeds()
    corpus = options.out / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, content in enumerate(originals):
        (corpus / f"seed-{number}").write_bytes(content)

    def mutator(content, size, seed):
        rng = random.Random(seed)
        return target.mutated(content, rng, originals)[:size] if rng.random() < 0.7 else atheris.Mutate(content, size)

    def one(content):
        statistics(content)
        if statistics.calls % 5000 == 0 or statistics.calls >= options.count:
            statistics.save()

    atheris.Setup(
        [
            *(
                sys.argv[0],
                f"-runs={options.count}",
                f"-seed={options.seed}",
                f"-timeout={_HANG_SECONDS}",
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
