"""Quantizes a model's OpenVINO export to int8, and publishes it only if its loss of AUROC is provably small."""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.evaluation.estimate import difference, estimate
from db.evaluation.evaluate import mean_auroc_statistic
from db.labels.csv_file import LabelRow
from db.metrics.formulas import has_both_classes
from trainer.console.progress import print_status
from trainer.data.labels import known_only
from trainer.evaluation.evaluator import make_cohort
from trainer.publishing.int8_scans import Int8Scans, count_patients
from trainer.publishing.publish import staging_folder
from worker.artifacts.artifact import file_sha256
from worker.artifacts.exports import (
    EXPORTS_FILE,
    FILES_BY_FORMAT,
    INT8,
    OPENVINO_INT8_FILE,
    FloatPrecision,
    Int8Export,
    read_exports,
    read_format,
    write_exports,
)
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore
from worker.images.pixels import Pixels
from worker.scoring.runtimes.openvino import choose_float_precision, compile_graph
from worker.scoring.runtimes.openvino_import import openvino
from worker.scoring.scorer import pad_batch

#: The bound of the loss of mean AUROC must lie below this.
DEFAULT_MAX_LOSS: Final = 0.01
#: The upper end of a two-sided 90% interval is the one-sided 95% bound.
_LEVEL: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean AUROCs of float32 and int8 scores on the same scans, over the findings with both classes."""

    float32: float
    int8: float
    #: The one-sided 95% bound of `float32 - int8`, clustered by patient.
    loss_bound: float


def export_int8(artifact: Artifact, scans: Int8Scans, *, models: ModelStore, max_loss: float) -> Int8Export:
    """Write the int8 format beside the artifact if the bound of its loss of mean AUROC lies below `max_loss`.

    Args:
        artifact: a model with an export to OpenVINO.
        scans: see `trainer.publishing.int8_scans.load_int8_scans`.
        models: the artifact's store.
        max_loss: a difference of mean AUROCs, at least 0.

    Raises:
        UserError: the bound is not below `max_loss`, no finding has both classes, the model was not exported to
            OpenVINO, or the store cannot be written.
    """
    exports, floats = read_exports(artifact), choose_float_precision("auto")
    graph, weights = read_format(artifact, "openvino").values()
    core, size = openvino.Core(), artifact.manifest.batch_size
    pixels = np.asarray(scans.validation.pixels[scans.validation.indices])
    with staging_folder() as staging:
        print_status(f"calibrating int8 on {len(scans.calibration)} scans")
        quantized = quantize(core.read_model(graph, weights), scans.calibration, size)
        openvino.save_model(quantized, staging / OPENVINO_INT8_FILE, compress_to_fp16=False)
        print_status(f"comparing int8 with float32 on {len(pixels)} {scans.kind}")
        float32 = _scores(core.read_model(graph, weights), pixels, size, "float32")
        int8 = _scores(core.read_model(staging / OPENVINO_INT8_FILE), pixels, size, floats)
        compared = compare(scans.validation.rows, scans.validation.labels, float32, int8)
        export = Int8Export(
            runtime=f"openvino {openvino.__version__.split('-')[0]}",
            rest=floats,
            quantizer=f"nncf {version('nncf')}",
            calibrated_on=len(scans.calibration),
            files={file: file_sha256(staging / file) for file in FILES_BY_FORMAT[INT8]},
            max_difference=float(np.abs(int8 - float32).max()),
            max_loss=max_loss,
            dataset=scans.dataset,
            **_proven_figures(scans, compared, max_loss=max_loss),
        )
        write_exports(staging, artifact.sha256, {**exports.formats, INT8: export})
        models.add(artifact, staging, last=EXPORTS_FILE)
    return export


def quantize(graph: Any, pixels: Pixels, batch_size: int) -> Any:
    """Quantize an `openvino.Model` to int8 where that is faster.

    Args:
        graph: the model in float32.
        pixels: uint8 (N, H, W, C) of scans to calibrate on.
        batch_size: scans per pass.
    """
    # NNCF reads this when it is imported; without it NNCF reports each use to its makers.
    os.environ["NNCF_CI"] = "1"
    # NNCF prints progress to stdout, which is for results.
    with redirect_stdout(sys.stderr):
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        # NNCF's own `set_log_level` would silence every handler of this process.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        batches = [pixels[at : at + batch_size] for at in range(0, len(pixels), batch_size)]
        # MINMAX takes each activation's range from its smallest and largest value. NNCF's default averages the ranges
        # of batches, which cut off so much that a DenseNet121 lost 0.05 of AUROC; with MINMAX it lost nothing.
        # Without the fix, sums of products overflow on CPUs without VNNI, in silence: a graph that loses nothing on a
        # trainer with VNNI had an AUROC of 0.73 instead of 0.96 on a worker without. So weights have seven bits.
        everywhere = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX, overflow_fix=nncf.OverflowFix.ENABLE
        )
        return nncf.quantize(
            graph,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            advanced_parameters=everywhere,
        )


def compare(
    rows: Sequence[LabelRow],
    labels: NDArray[np.float32],
    float32: NDArray[np.float32],
    int8: NDArray[np.float32],
) -> Comparison | None:
    """Compare the mean AUROCs of two sets of scores of the same scans.

    What a patient's scans add to one AUROC is subtracted from what they add to the other before it is squared, so for
    nearly equal scores the bound is tight even with few patients.

    Args:
        rows: the scans (N,), for their patients.
        labels: float32 (N, findings): 1, 0, or NaN for unknown.
        float32: scores, float32 (N, findings) in [0, 1].
        int8: the same of int8.

    Returns:
        None if no finding has both classes.
    """
    columns = [str(at) for at in range(labels.shape[1])]
    cohorts = [make_cohort(rows, labels, scores, findings=columns, manufacturers={}) for scores in (float32, int8)]
    exact, rough = (mean_auroc_statistic(cohort, columns) for cohort in cohorts)
    if exact is None or rough is None:
        return None
    bound = estimate(difference(exact, rough), "identity", level=_LEVEL).high
    return None if bound is None else Comparison(float32=exact.value, int8=rough.value, loss_bound=bound)


def describe_int8(export: Int8Export) -> str:
    """Describe an int8 export and its comparison with float32 in one line."""
    kind = "scans" if export.dataset else "validation scans"
    seen = f" of {export.dataset}, which the model may have been fitted on" if export.dataset else ""
    return (
        f"{INT8}: {', '.join(export.files)}; mean AUROC {export.auroc_float32:.4f} in float32 and"
        f" {export.auroc_int8:.4f} in int8 over {export.findings} findings, on {export.scans} {kind} of"
        f" {export.patients} patients{seen}; the loss is at most {export.loss_bound:.4f} (one-sided 95% bound,"
        f" clustered by patient); scores differ from float32 by at most {export.max_difference:.2g}"
    )


def _proven_figures(given: Int8Scans, compared: Comparison | None, *, max_loss: float) -> dict[str, Any]:
    scans, patients = len(given.validation.rows), count_patients(given.validation.rows)
    findings = sum(has_both_classes(known_only(labels)[0] > 0) for labels in given.validation.labels.T)
    if compared is None:
        raise UserError(f"int8: no finding has both classes on {scans} {given.kind}; nothing was written")
    float32, int8, bound = compared.float32, compared.int8, compared.loss_bound
    if not bound < max_loss:
        raise UserError(
            f"int8: mean AUROC {float32:.4f} in float32 and {int8:.4f} in int8 over {findings} findings, on {scans}"
            f" {given.kind} of {patients} patients; the loss may be {bound:.4f} (one-sided 95% bound), which is not"
            f" below --max-loss {max_loss:g}; nothing was written"
        )
    return {
        "scans": scans,
        "patients": patients,
        "findings": findings,
        "auroc_float32": float32,
        "auroc_int8": int8,
        "loss_bound": bound,
    }


def _scores(graph: Any, pixels: Pixels, size: int, floats: FloatPrecision) -> NDArray[np.float32]:
    """Scores as a worker computes them, float32 (N, findings)."""
    request = compile_graph(graph, (size, *pixels.shape[1:]), floats).create_infer_request()
    passes = [
        np.array(request.infer([pad_batch(pixels[at : at + size], size)])[0]) for at in range(0, len(pixels), size)
    ]
    return np.concatenate(passes)[: len(pixels)]
