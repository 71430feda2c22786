"""Exports models to ONNX and OpenVINO, and publishes an export only if it scores real scans as Keras does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from trainer.console.optional_packages import check_installed
from trainer.console.progress import print_status
from trainer.data.dataset import Examples, read_scans
from trainer.data.training_data import Source
from trainer.publishing.publish import staging_folder
from worker.artifacts.artifact import file_sha256
from worker.artifacts.exports import (
    EXPORT_FILE_NAMES,
    EXPORTS_FILE,
    FILES_BY_FORMAT,
    INT8,
    ONNX_FILE,
    OPENVINO_FILE,
    Export,
    Int8Export,
    read_exports,
    write_exports,
)
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore
from worker.images.pixels import Pixels
from worker.processes import native_stderr_muted

#: From uint8 (B, H, W, C) to float32 (B, findings).
Forward = Callable[[Pixels], NDArray[np.float32]]
#: Largest accepted absolute difference of a score from Keras'.
DEFAULT_TOLERANCE: Final = 1e-4
#: Number of scans that `trainer fit` compares scores on.
_COMPARED_SCANS: Final = 256
_PACKAGES: Final = ("onnx", "onnxruntime", "openvino", "tf2onnx")


def load_scans(artifact: Artifact, source: Source, *, count: int, cache: Path) -> Examples:
    """Read scans of a CSV with the artifact's preprocessing.

    Args:
        artifact: the model.
        source: a labels CSV and its images.
        count: the number of scans, taken at even intervals from the whole CSV.
        cache: the folder of decoded images.

    Raises:
        UserError: the CSV or an image is wrong.
    """
    labelled = source.find_scans()
    rows = labelled.file.rows
    chosen = [rows[at] for at in np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
    return read_scans(chosen, labelled.found, artifact.manifest.preprocessing, cache=cache)


def export_artifact(artifact: Artifact, scans: Examples, *, models: ModelStore, tolerance: float) -> dict[str, Export]:
    """Write ONNX and OpenVINO beside the artifact if both score these scans as Keras does. An int8 export is kept.

    Raises:
        UserError: see `check_export_possible` and `write_formats`; or the store cannot be written.
    """
    check_export_possible()
    with native_stderr_muted():
        from worker.artifacts.keras_model import load_keras_model
    model = load_keras_model(artifact)
    pixels = np.asarray(scans.pixels[scans.indices])
    with staging_folder() as staging:
        formats = write_formats(model, staging, pixels, batch_size=artifact.manifest.batch_size, tolerance=tolerance)
        write_exports(staging, artifact.sha256, {**_existing_int8(artifact), **formats})
        models.add(artifact, staging, last=EXPORTS_FILE)
    return formats


def check_export_possible() -> None:
    """Check what an export needs before the work begins.

    Raises:
        UserError: a package is not installed, or Keras' backend is not TensorFlow.
    """
    check_installed("trainer export", _PACKAGES)
    with native_stderr_muted():
        from worker.artifacts.keras_import import keras
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"trainer export needs KERAS_BACKEND=tensorflow, and it is {keras.backend.backend()}")


def write_formats(model: Any, folder: Path, pixels: Pixels, *, batch_size: int, tolerance: float) -> dict[str, Export]:
    """Write a model as ONNX and for OpenVINO, and check that each scores as Keras does.

    Args:
        model: a `keras.Model` from uint8 (B, H, W, C) to float32 (B, findings).
        folder: the folder for the files.
        pixels: uint8 (N, H, W, C) of real scans, to compare scores on.
        batch_size: scans per pass.
        tolerance: the largest accepted absolute difference of a score.

    Returns:
        The exports by format.

    Raises:
        UserError: a format's scores differ by more than `tolerance`.
    """
    from worker.artifacts.keras_import import keras

    expected = _scores(lambda batch: keras.ops.convert_to_numpy(model(batch, training=False)), pixels, batch_size)
    _write_files(model, folder)
    formats = {}
    for name, (runtime, forward) in _open_formats(folder).items():
        print_status(f"checking {name} on {len(pixels)} scans")
        difference = float(np.abs(_scores(forward, pixels, batch_size) - expected).max())
        if not difference <= tolerance:
            raise UserError(
                f"{name}: scores differ from the Keras model's by up to {difference:.2g} on {len(pixels)} scans,"
                f" more than --tolerance {tolerance:g}; nothing was written"
            )
        formats[name] = Export(
            runtime=runtime,
            files={file: file_sha256(folder / file) for file in FILES_BY_FORMAT[name]},
            max_difference=difference,
            scans=len(pixels),
        )
    return formats


def export_for_workers(
    model: Any, folder: Path, *, pixels: Pixels, indices: NDArray[np.int64], batch_size: int
) -> dict[str, Export]:
    """Export a new model to OpenVINO for workers on CPUs. If that fails, print why and return no exports.

    Args:
        model: see `write_formats`.
        folder: see `write_formats`.
        pixels: uint8 (N, H, W, C), possibly memory-mapped.
        indices: the scans to compare scores on.
        batch_size: see `write_formats`.
    """
    chosen = indices[np.linspace(0, len(indices) - 1, min(_COMPARED_SCANS, len(indices))).astype(int)]
    try:
        check_export_possible()
        print_status("exporting to OpenVINO")
        formats = write_formats(
            model, folder, np.asarray(pixels[chosen]), batch_size=batch_size, tolerance=DEFAULT_TOLERANCE
        )
    except UserError as error:
        for name in EXPORT_FILE_NAMES:
            (folder / name).unlink(missing_ok=True)
        print_status(f"no export to OpenVINO, so workers will score with Keras: {error}")
        return {}
    # Every worker would fetch this file and none reads it; 'trainer export' writes it for other programs.
    (folder / ONNX_FILE).unlink()
    return {"openvino": formats["openvino"]}


def _write_files(model: Any, folder: Path) -> None:
    with native_stderr_muted():
        from worker.scoring.runtimes.openvino_import import openvino

        model.export(folder / ONNX_FILE, format="onnx", verbose=False)
        graph = openvino.Core().read_model(folder / ONNX_FILE)
        openvino.save_model(graph, folder / OPENVINO_FILE, compress_to_fp16=False)


def _existing_int8(artifact: Artifact) -> dict[str, Int8Export]:
    try:
        found = read_exports(artifact).formats.get(INT8)
    except UserError:
        # The model was never exported, or its list of exports is damaged and will be replaced.
        return {}
    return {INT8: found} if isinstance(found, Int8Export) else {}


def _open_formats(folder: Path) -> Mapping[str, tuple[str, Forward]]:
    import onnxruntime

    from worker.scoring.runtimes.openvino_import import openvino

    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])
    (model_input,) = session.get_inputs()
    # By default OpenVINO computes in bfloat16 where the CPU has it.
    compiled = openvino.Core().compile_model(folder / OPENVINO_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {
        "onnx": (
            f"onnxruntime {onnxruntime.__version__}",
            lambda batch: session.run(None, {model_input.name: batch})[0],
        ),
        "openvino": (f"openvino {openvino.__version__.split('-')[0]}", lambda batch: compiled(batch)[0]),
    }


def _scores(forward: Forward, pixels: Pixels, size: int) -> NDArray[np.float32]:
    return np.concatenate([forward(pixels[start : start + size]) for start in range(0, len(pixels), size)])
