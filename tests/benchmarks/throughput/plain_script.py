"""The fastest plain script: threads decode ahead of OpenVINO, in one process, without queue, SQL or checks.

It runs two requests at once with batches of 8, as workers do. This was faster than batches of 32, and than one request
on all cores.

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

from worker.scoring.runtimes.openvino_import import openvino

BATCH = 8
#: Number of scans that are decoded ahead.
AHEAD = 64
graph, folder, out, precision, decoder = sys.argv[1:6]

if decoder == "nightread":
    from worker.images.pixels import to_pixels
    from worker.images.preprocessing import Preprocessing

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
hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
compiled = core.compile_model(model, "CPU", hints)
requests = openvino.AsyncInferQueue(compiled)
files = sorted(Path(folder).iterdir())
scores = [None] * (len(files) // BATCH + 1)
requests.set_callback(lambda request, at: scores.__setitem__(at, request.get_output_tensor().data.copy()))
# Warm up, because workers are warm, too.
for _ in range(len(requests)):
    requests.start_async([np.zeros((BATCH, side, side, 1), np.uint8)], 0)
requests.wait_all()
warm = [pixels_of(path, side) for path in files[:128]]
started = time.perf_counter()
with ThreadPoolExecutor(os.cpu_count()) as pool:
    waiting, rest = deque(), iter(files)
    waiting.extend(pool.submit(pixels_of, path, side) for _, path in zip(range(AHEAD), rest, strict=False))
    at = 0
    while waiting:
        batch = []
        while waiting and len(batch) < BATCH:
            batch.append(waiting.popleft().result())
            waiting.extend(pool.submit(pixels_of, path, side) for _, path in zip(range(1), rest, strict=False))
        pixels = np.zeros((BATCH, side, side, 1), np.uint8)
        pixels[: len(batch)] = batch
        requests.start_async([pixels], at)
        at += 1
    requests.wait_all()
seconds = time.perf_counter() - started
np.save(out, np.concatenate(scores[:at])[: len(files)])
print(json.dumps({"scans/s": len(files) / seconds}))
