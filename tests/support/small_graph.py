"""Builds a small OpenVINO network quickly, and an artifact with its export, without loading TensorFlow or Keras."""

import numpy as np

from worker.artifacts.artifact import file_sha256, publish
from worker.artifacts.exports import FILES_BY_FORMAT, OPENVINO_FILE, Export, write_exports
from worker.artifacts.manifest import MODEL_FILE, Manifest
from worker.artifacts.split_file import write_split
from worker.images.preprocessing import Preprocessing
from worker.scoring.runtimes.openvino_import import openvino

ops = openvino.opset13
SIDE = 32
FINDINGS = ("Abnormal", "Effusion")
BATCH = 8


def small_graph():
    """An `openvino.Model` from uint8 (B, 32, 32, 1) to two scores that grow with brightness, the second one less."""
    rng = np.random.default_rng(0)
    pixels = ops.parameter([-1, SIDE, SIDE, 1], np.uint8, name="pixels")
    maps = ops.transpose(ops.divide(ops.convert(pixels, "f32"), np.float32(255)), np.array([0, 3, 1, 2]))
    for given, made in ((1, 8), (8, 16)):
        kernel = rng.uniform(0, 2 / (9 * given), (made, given, 3, 3)).astype(np.float32)
        maps = ops.relu(ops.convolution(maps, kernel, [2, 2], [0, 0], [0, 0], [1, 1]))
    means = ops.reduce_mean(maps, np.array([2, 3]), keep_dims=False)
    head = np.stack([np.full(16, 2), np.linspace(-1, 2, 16)], axis=1).astype(np.float32)
    logits = ops.subtract(ops.matmul(means, head, transpose_a=False, transpose_b=False), np.float32([16, 4]))
    return openvino.Model([ops.sigmoid(logits)], [pixels])


def artifact_in(folder, split=()):
    """Publish an artifact with the small graph as its export in `folder/models`; its model file is never loaded."""
    staging = folder / "staging"
    staging.mkdir(parents=True)
    (staging / MODEL_FILE).write_bytes(b"nobody loads it here")
    write_split(staging, split)
    openvino.save_model(small_graph(), staging / OPENVINO_FILE, compress_to_fp16=False)
    manifest = Manifest(
        name="small",
        findings=FINDINGS,
        dataset="sample_labels",
        preprocessing=Preprocessing(height=SIDE, width=SIDE),
        batch_size=BATCH,
    )
    return publish(staging, folder / "models", manifest, _formats(staging))


def replace_export(folder, model):
    """Replace the export in a folder by one that scores all scans differently, and its list of hashes with it."""
    graph = small_graph()
    score = graph.outputs[0].get_node().input_value(0)
    turned = openvino.Model([ops.subtract(np.float32(1), score)], graph.get_parameters())
    openvino.save_model(turned, folder / OPENVINO_FILE, compress_to_fp16=False)
    return write_exports(folder, model, _formats(folder))


def _formats(folder):
    files = {file: file_sha256(folder / file) for file in FILES_BY_FORMAT["openvino"]}
    return {"openvino": Export(runtime="openvino", files=files, max_difference=0, scans=1)}
