"""Measures the limits of the machine: decoding alone on all cores, the model alone, and both independently at once.

python limits.py ARTIFACT IMAGES RUNTIME PRECISION
"""

import json
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from worker.artifacts.artifact import load_artifact
from worker.images.pixels import to_pixels
from worker.scoring.open_scorer import open_scorer
from worker.scoring.scorer import streams_of

#: A measurement lasts at least this long.
MIN_SECONDS = 3.0

artifact = load_artifact(Path(sys.argv[1]))
files = sorted(Path(sys.argv[2]).iterdir())
rule = artifact.manifest.preprocessing
scorer = open_scorer(artifact, *sys.argv[3:5])
# Decode more than a batch, to load everything that is loaded late.
batch = np.stack([to_pixels(path.read_bytes(), rule) for path in files[:128]])[: scorer.batch_size]


def decode_as_workers(path):
    """Decode a file as workers do."""
    to_pixels(path.read_bytes(), rule)


def decode_with_cv2(path):
    """Decode a file as most scripts do."""
    cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (rule.width, rule.height), interpolation=cv2.INTER_AREA)


def decode(pool, one):
    """Submit all files to the pool, and return their futures."""
    return [pool.submit(one, path) for path in files]


def score():
    """Score as many scans as there are files."""
    with ThreadPoolExecutor(streams_of(scorer)) as threads:
        list(threads.map(scorer.score, [batch] * math.ceil(len(files) / scorer.batch_size)))


def rate(work):
    """Scans per second of work on all files, repeated until the measurement is long enough."""
    started, scans, seconds = time.perf_counter(), 0, 0.0
    while seconds < MIN_SECONDS:
        work()
        scans += len(files)
        seconds = time.perf_counter() - started
    return scans / seconds


def decode_and_score(pool):
    """Decode and score at the same time; neither waits for the other."""
    going = decode(pool, decode_as_workers)
    score()
    for future in going:
        future.result()


with ThreadPoolExecutor(os.cpu_count()) as pool:
    decode_as_workers(files[0])
    found = {
        "decoding alone, cv2": rate(lambda: [future.result() for future in decode(pool, decode_with_cv2)]),
        "decoding alone": rate(lambda: [future.result() for future in decode(pool, decode_as_workers)]),
        "model alone": rate(score),
        "both at once": rate(lambda: decode_and_score(pool)),
    }
print(json.dumps(found))
