"""The best plain script: threads that decode ahead of OpenVINO, in one process, without queue, SQL or a second look.

python plain_script.py OPENVINO.xml IMAGES SCORES.npy f32|bf16 cv2|nightread
"""

import json
import os
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from worker.quiet import openvino

BATCH = 32
graph, folder, out, precision, decoder = sys.argv[1:6]

if decoder == "nightread":
    from worker.manifest import Preprocessing
    from worker.pixels import to_pixels

    def pixels_of(path, side):
        return to_pixels(path.read_bytes(), Preprocessing(height=side, width=side))
else:

    def pixels_of(path, side):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)[..., np.newaxis]


core = openvino.Core()
model = core.read_model(graph)
side = model.input().partial_shape[1].get_length()
model.reshape([BATCH, side, side, 1])
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})
compiled(np.zeros((BATCH, side, side, 1), np.uint8))
files = sorted(Path(folder).iterdir())
scores = []
# Warm as the workers are.
warm = [pixels_of(path, side) for path in files[: 4 * BATCH]]
started = time.perf_counter()
with ThreadPoolExecutor(os.cpu_count()) as pool:
    waiting, rest = deque(), iter(files)
    waiting.extend(pool.submit(pixels_of, path, side) for _, path in zip(range(2 * BATCH), rest, strict=False))
    while waiting:
        batch = []
        while waiting and len(batch) < BATCH:
            batch.append(waiting.popleft().result())
            waiting.extend(pool.submit(pixels_of, path, side) for _, path in zip(range(1), rest, strict=False))
        pixels = np.zeros((BATCH, side, side, 1), np.uint8)
        pixels[: len(batch)] = batch
        scores.append(compiled(pixels)[0][: len(batch)].copy())
seconds = time.perf_counter() - started
np.save(out, np.concatenate(scores))
print(json.dumps({"scans/s": len(files) / seconds}))
