"""Scores as the mini project does: decode every image in colour, then one `model.predict`, in one process.

python mini_project.py MODEL.keras IMAGES SCORES.npy
"""

import json
import sys
import time
from pathlib import Path

import cv2
import keras  # noqa: TID251 -- as the mini project does
import numpy as np

model = keras.models.load_model(sys.argv[1], compile=False)
size = model.input_shape[1:3]
model.predict(np.zeros((32, *size, 1), np.uint8), verbose=0)
files = sorted(Path(sys.argv[2]).iterdir())
started = time.perf_counter()
images = np.stack([cv2.resize(cv2.imread(str(path)), size, interpolation=cv2.INTER_AREA) for path in files])
scores = model.predict(images[..., :1], batch_size=32, verbose=0)
seconds = time.perf_counter() - started
np.save(sys.argv[3], scores)
print(json.dumps({"scans/s": len(files) / seconds}))
