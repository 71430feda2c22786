"""Scores with Ray Data: its tasks read and decode images, and an actor with OpenVINO scores them.

python ray_data.py OPENVINO.xml IMAGES SCORES.npy f32|bf16
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

BATCH = 32
SIDE = int(os.environ.get("SIDE", "224"))
graph, folder, out, precision = sys.argv[1:5]


def decode(row):
    """Replace a row's file by its pixels."""
    import cv2

    image = cv2.imread(row["item"], cv2.IMREAD_GRAYSCALE)
    pixels = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., np.newaxis]
    return {"name": row["item"], "pixels": pixels}


class Scorer:
    """Holds the compiled model."""

    def __init__(self):
        # Otherwise each import sends telemetry.
        sys.modules["openvino_telemetry"] = None
        import openvino  # noqa: TID251

        core = openvino.Core()
        model = core.read_model(graph)
        model.reshape([BATCH, SIDE, SIDE, 1])
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        self.compiled = core.compile_model(model, "CPU", hints)
        self.compiled(np.zeros((BATCH, SIDE, SIDE, 1), np.uint8))
        self.ready = time.time()

    def __call__(self, batch):
        """Scores of a batch."""
        pixels = np.zeros((BATCH, SIDE, SIDE, 1), np.uint8)
        pixels[: len(batch["name"])] = np.stack(list(batch["pixels"]))
        scores = self.compiled(pixels)[0][: len(batch["name"])]
        return {"name": batch["name"], "scores": scores, "ready": np.full(len(scores), self.ready)}


ray.init(num_cpus=os.cpu_count(), include_dashboard=False, logging_level="ERROR", log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
files = [str(path) for path in sorted(Path(folder).iterdir())]


def scored(names):
    """Score all rows; the actor reserves half a core, so that tasks can decode beside it."""
    rows = ray.data.from_items(names, override_num_blocks=max(1, len(names) // 64)).map(decode)
    return rows.map_batches(Scorer, batch_size=BATCH, concurrency=1, num_cpus=0.5).take_all()


scored(files[:BATCH])
started = time.time()
rows = scored(files)
ended = time.time()
rows.sort(key=lambda row: row["name"])
np.save(out, np.stack([row["scores"] for row in rows]))
# Each pipeline starts its own actor, which loads the model; the workers of other projects are warm by then.
ready = float(rows[0]["ready"])
print(json.dumps({"scans/s": len(files) / (ended - started), "scans/s, warm": len(files) / (ended - ready)}))
