"""Makes a DenseNet121 for benchmarks. It is not fitted, but its scores differ from scan to scan.

If Keras runs on TensorFlow, it also makes the versions for OpenVINO.

python make_model.py MODELS IMAGES BATCH_SIZE
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from db.findings import FINDINGS
from trainer.network.encoders import scale_for_imagenet
from trainer.publishing.export import export_for_workers
from worker.artifacts.artifact import file_sha256, publish
from worker.artifacts.exports import FILES_BY_FORMAT, INT8, OPENVINO_FILE, OPENVINO_INT8_FILE, Int8Export
from worker.artifacts.keras_import import keras
from worker.artifacts.manifest import MODEL_FILE, SPLIT_FILE, Manifest
from worker.images.pixels import to_pixels
from worker.images.preprocessing import Preprocessing

SCANS = 64

models, images = map(Path, sys.argv[1:3])
batch_size = int(sys.argv[3])
rule = Preprocessing()
pixels = np.stack([to_pixels(path.read_bytes(), rule) for path in sorted(images.iterdir())[:SCANS]])

keras.utils.set_random_seed(7)
given = keras.Input(rule.shape, dtype="uint8", name="pixels")
encoder = keras.applications.DenseNet121(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
features = encoder(scale_for_imagenet(keras.layers.Rescaling(1.0)(given), "densenet121"))
scores = keras.layers.Dense(len(FINDINGS), activation="sigmoid")(keras.layers.BatchNormalization()(features))
model = keras.Model(given, scores)
for layer in (*encoder.layers, *model.layers):
    if isinstance(layer, keras.layers.BatchNormalization):
        # One pass sets the moving statistics for these scans, as a fit would.
        layer.momentum = 0.0
model(pixels, training=True)

staging = Path(tempfile.mkdtemp()) / "staging"
staging.mkdir()
model.save(staging / MODEL_FILE)
(staging / SPLIT_FILE).write_text("image_name,patient_id,subset\n")
manifest = Manifest(name="bench", findings=FINDINGS, dataset="none", preprocessing=rule, batch_size=batch_size)
formats = export_for_workers(model, staging, pixels=pixels, indices=np.arange(SCANS), batch_size=batch_size)
if formats:
    from trainer.publishing.quantize import quantize
    from worker.scoring.runtimes.openvino_import import openvino

    quantized = quantize(openvino.Core().read_model(staging / OPENVINO_FILE), pixels, batch_size)
    openvino.save_model(quantized, staging / OPENVINO_INT8_FILE, compress_to_fp16=False)
    files = {file: file_sha256(staging / file) for file in FILES_BY_FORMAT[INT8]}
    # The bounds mean nothing for a network that is not fitted.
    nothing = dict.fromkeys(("auroc_float32", "auroc_int8", "loss_bound", "max_loss", "max_difference"), 0.0)
    none = dict.fromkeys(("scans", "patients", "findings", "resamples"), 0)
    formats[INT8] = Int8Export(
        runtime="openvino", rest="bfloat16", quantizer="nncf", calibrated_on=SCANS, files=files, **nothing, **none
    )
artifact = publish(staging, models, manifest, formats)
print(json.dumps({"artifact": str(artifact.folder)}))
