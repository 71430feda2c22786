"""`trainer export`: the model as ONNX and OpenVINO, published only where its scores are Keras' own on real scans."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.labels_csv import read_labels_csv
from trainer.dataset import Examples, read_scans
from trainer.extras import check_installed
from trainer.progress import native_stderr_muted, say
from trainer.publish import staging_folder
from worker.artifact import Artifact, file_sha256
from worker.exports import EXPORTS_FILE, FILES, ONNX_FILE, OPENVINO_FILE, Export, Exports
from worker.model_dir import ModelDir
from worker.pixels import Pixels

#: From uint8 (B, H, W, C) to float32 (B, findings).
Forward = Callable[[Pixels], NDArray[np.float32]]
_PACKAGES: Final = ("onnx", "onnxruntime", "openvino", "tf2onnx")


def load_scans(artifact: Artifact, csv: Path, images: str | None, *, count: int, cache: Path) -> Examples:
    """So many scans of a CSV, taken evenly from all of it, as the artifact's pixels.

    Raises:
        UserError: the CSV or images are wrong.
    """
    rows = read_labels_csv(csv).rows
    chosen = [rows[at] for at in np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
    return read_scans(csv, images, chosen, artifact.manifest.preprocessing, cache=cache)


def export_artifact(artifact: Artifact, scans: Examples, *, models: ModelDir, tolerance: float) -> Exports:
    """Write both formats beside the artifact, once each has scored these scans as Keras does.

    Raises:
        UserError: a format's scores differ by more than `tolerance`, a package is not installed, Keras runs on another
            backend than TensorFlow, or the artifact's place cannot be written.
    """
    check_installed("trainer export", _PACKAGES)
    pixels = np.asarray(scans.pixels[scans.places])
    with native_stderr_muted():
        import keras

        from worker.network import load_network
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"trainer export converts on TensorFlow, and KERAS_BACKEND is {keras.backend.backend()}")
    model = load_network(artifact)
    size = artifact.manifest.batch_size
    expected = _scores(lambda batch: keras.ops.convert_to_numpy(model(batch, training=False)), pixels, size)
    with staging_folder() as staging:
        _write_formats(model, staging)
        formats = {}
        for name, (runtime, forward) in _open_formats(staging).items():
            say(f"checking {name} on {len(pixels)} scans")
            difference = float(np.abs(_scores(forward, pixels, size) - expected).max())
            if not difference <= tolerance:
                raise UserError(
                    f"{name}: scores differ from the Keras model's by up to {difference:.2g} on {len(pixels)} scans,"
                    f" more than --tolerance {tolerance:g}; nothing was written"
                )
            formats[name] = Export(
                runtime=runtime,
                files={file: file_sha256(staging / file) for file in FILES[name]},
                max_difference=difference,
                scans=len(pixels),
            )
        exports = Exports(model=artifact.sha256, formats=formats)
        (staging / EXPORTS_FILE).write_text(exports.model_dump_json(indent=2) + "\n", encoding="utf-8")
        models.add(artifact, staging, last=EXPORTS_FILE)
    return exports


def _write_formats(model: Any, folder: Path) -> None:
    with native_stderr_muted():
        import openvino

        model.export(folder / ONNX_FILE, format="onnx", verbose=False)
        # Read by OpenVINO's own core: its converter for Keras would tell its makers that it was used.
        graph = openvino.Core().read_model(folder / ONNX_FILE)
        openvino.save_model(graph, folder / OPENVINO_FILE, compress_to_fp16=False)


def _open_formats(folder: Path) -> Mapping[str, tuple[str, Forward]]:
    import onnxruntime
    import openvino

    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    # Left to itself OpenVINO computes in bfloat16 where the CPU has it.
    compiled = openvino.Core().compile_model(folder / OPENVINO_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {
        "onnx": (f"onnxruntime {onnxruntime.__version__}", lambda batch: session.run(None, {given.name: batch})[0]),
        "openvino": (f"openvino {openvino.__version__.split('-')[0]}", lambda batch: compiled(batch)[0]),
    }


def _scores(forward: Forward, pixels: Pixels, size: int) -> NDArray[np.float32]:
    return np.concatenate([forward(pixels[start : start + size]) for start in range(0, len(pixels), size)])
