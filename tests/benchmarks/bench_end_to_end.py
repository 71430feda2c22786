"""End to end on real scans: nightread through queue and SQL, beside the mini project's way in the same run.

The mini project's way: cv2 colour decode, resize to 224 x 224, then `model.predict`, in one process. Both score
the same files with one DenseNet121 (random weights: the arithmetic is the same). Also prints the time from
`worker start` to the first score, and the memory of supervisor, parent and child.

    python tests/benchmarks/bench_end_to_end.py [--images ../shared/data/nih1024/images] [--copies 4] [--rounds 3]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psutil
from world import HEADER, World, wait_until

ROOT = Path(__file__).parents[2]


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="nightread-bench-") as folder:
        csv = lay_out(Path(folder), options.images, options.copies)
        home = Path(folder) / "home"
        in_process(MAKE_MODEL, home)
        rounds = [one_round(home, csv) for _ in range(options.rounds)]
    figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    figures["ratio"] = statistics.median(each["nightread scans/s"] / each["mini project scans/s"] for each in rounds)
    for name, value in figures.items():
        print(f"{name:>34}  {value:.2f}")
    options.out.write_text(json.dumps({"median": figures, "rounds": rounds}, indent=2))


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "nih1024" / "images")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "bench_end_to_end.json")
    return parser.parse_args()


def lay_out(folder, images, copies):
    """Every image under `copies` names, and a labels CSV over them."""
    files = sorted(images.glob("*.png"))
    if not files:
        sys.exit(f"no PNG in {images}; --images names a folder of radiographs")
    (folder / "images").mkdir()
    lines = [",".join(HEADER)]
    for number, path in enumerate(files * copies):
        name = f"{number + 1:08d}_000.png"
        shutil.copyfile(path, folder / "images" / name)
        lines.append(f"{name},No Finding,0,{number + 1},60,M,PA,1024,1024,0.14,0.14")
    csv = folder / "sample_labels.csv"
    csv.write_text("\n".join(lines) + "\n")
    return csv


def one_round(home, csv):
    """The two ways after one another; a new home each time, so that nothing is scored already."""
    return {**nightread(home, csv), **in_process(MINI_PROJECT, home, csv.parent / "images")}


def nightread(home, csv):
    with tempfile.TemporaryDirectory(prefix="nightread-bench-home-") as fresh:
        world = World(home=Path(fresh), env={"CXR_HOME": fresh, "CXR_MODEL_DIR": str(home / "models")})
        try:
            return measure(world, csv)
        finally:
            world.stop()


def measure(world, csv):
    first = csv.with_name("first.csv")
    first.write_text("\n".join(csv.read_text().splitlines()[:2]) + "\n")
    world.producer("enqueue", "--csv", first)
    started = time.monotonic()
    worker = world.worker()
    wait_until(lambda: world.rows("SELECT count(*) FROM scores") == [(1,)], seconds=180, what="the first score")
    to_first = time.monotonic() - started
    world.producer("enqueue", "--csv", csv)
    wait_until(
        lambda: world.rows("SELECT count(*) FROM runs WHERE finished_at IS NOT NULL") == [(2,)], 600, "the run's end"
    )
    ((scans,),) = world.rows("SELECT expected FROM run_progress WHERE run_id = 2")
    ((opened, closed),) = world.rows("SELECT created_at, finished_at FROM runs WHERE id = 2")
    seconds = (datetime.fromisoformat(closed) - datetime.fromisoformat(opened)).total_seconds()
    return {
        "nightread scans/s": scans / seconds,
        "worker start to first score, s": to_first,
        **memory(worker),
    }


def memory(worker):
    """Resident MiB of supervisor, celery parent and scoring child."""
    supervisor = psutil.Process(worker.pid)
    parent = next(p for p in supervisor.children() if "celery" in " ".join(p.cmdline()))
    child = max(parent.children(), key=lambda process: process.memory_info().rss)
    names = ("supervisor MiB", "celery parent MiB", "scoring child MiB")
    return {
        name: process.memory_info().rss / 2**20
        for name, process in zip(names, (supervisor, parent, child), strict=True)
    }


def in_process(code, *arguments):
    """Run Python in a process of its own, so that no run warms another."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(done.stdout.splitlines()[-1])


MAKE_MODEL = """
import sys, json, tempfile, keras
from pathlib import Path
from db.findings import FINDINGS
from worker.artifact import publish
from worker.manifest import Manifest, Preprocessing
pixels = keras.Input((224, 224, 1), dtype="uint8")
gray = keras.layers.Rescaling(1 / 255)(pixels)
encoder = keras.applications.DenseNet121(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
features = encoder(keras.layers.Concatenate()([gray] * 3))
model = keras.Model(pixels, keras.layers.Dense(len(FINDINGS), activation="sigmoid")(features))
staging = Path(tempfile.mkdtemp())
model.save(staging / "model.keras")
(staging / "split.csv").write_text("image_name,patient_id,subset\\n")
publish(staging, Path(sys.argv[1]) / "models",
        Manifest(name="bench", findings=FINDINGS, dataset="none", preprocessing=Preprocessing()))
print(json.dumps({}))
"""

MINI_PROJECT = """
import sys, json, time, cv2, keras, numpy as np
from pathlib import Path
model = keras.models.load_model(next(Path(sys.argv[1]).glob("models/*/model.keras")), compile=False)
model.predict(np.zeros((32, 224, 224, 1), np.uint8), verbose=0)
files = sorted(Path(sys.argv[2]).iterdir())
started = time.perf_counter()
images = np.stack([cv2.resize(cv2.imread(str(path)), (224, 224)) for path in files])
model.predict(images[..., :1], batch_size=32, verbose=0)
print(json.dumps({"mini project scans/s": len(files) / (time.perf_counter() - started)}))
"""

if __name__ == "__main__":
    main()
