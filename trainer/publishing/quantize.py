"""`trainer export --int8`: the OpenVINO graph in eight bits, kept where it is proved to tell findings apart as well."""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.labels.csv_file import LabelRow, read_labels_csv
from db.metrics.bootstrap import ROUNDS, Estimate, bootstrap_patients
from db.metrics.formulas import CountArray, has_both_classes, roc_curve
from trainer.console.progress import print_status
from trainer.data.dataset import label_matrix, labelled_rows, read_scans
from trainer.data.held_out import unseen_rows, used_rows
from trainer.data.training_data import Subset
from trainer.evaluation.groups import patients_of
from trainer.publishing.publish import staging_folder
from worker.artifacts.artifact import file_sha256
from worker.artifacts.exports import (
    EXPORTS_FILE,
    FILES,
    INT8,
    OPENVINO_INT8_FILE,
    Floats,
    Int8Export,
    read_exports,
    read_format,
    write_exports,
)
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore
from worker.images.pixels import Pixels
from worker.scoring.runtimes.openvino import choose_floats, compile_graph
from worker.scoring.runtimes.openvino_import import openvino
from worker.scoring.scorer import padded

#: The bound of the loss of AUROC must lie below this unless somebody chose.
MAX_LOSS: Final = 0.01
#: With fewer, draws of patients hardly vary, and would prove anything.
LEAST_PATIENTS: Final = 20
#: The ends of a two-sided 90% interval: the upper one is the one-sided 95% bound.
_PERCENTILES: Final = (5.0, 95.0)


@dataclass(frozen=True, kw_only=True)
class Int8Scans:
    """What int8 is made and judged with; no patient is in both."""

    #: uint8 (N, H, W, C) of scans that the model was fitted on.
    calibration: Pixels
    #: Scans that it was tuned on, and no patient whom it was fitted on.
    validation: Subset


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two ways to compute a model's scores, on the same scans and in the same draws of patients."""

    #: Mean AUROCs over the findings with both classes.
    float32: Estimate
    int8: Estimate
    #: The first less the second; `high` is its one-sided 95% bound.
    loss: Estimate


def load_int8_scans(artifact: Artifact, csv: Path, images: str | None, *, count: int, cache: Path) -> Int8Scans:
    """Of a CSV all validation scans by the artifact's own split, and so many training scans, evenly from all of them.

    Raises:
        UserError: the CSV or images are wrong, or the CSV lacks either kind of scan.
    """
    file = read_labels_csv(csv)
    fitted = used_rows(file.rows, artifact, used=("train",))
    apart = set(unseen_rows(file.dataset, file.rows, artifact, used=("train",)))
    tuned = [row for row in used_rows(labelled_rows(file.rows), artifact, used=("validation",)) if row in apart]
    _check_scans(csv, artifact.manifest.name, fitted, tuned)
    chosen = [fitted[at] for at in np.linspace(0, len(fitted) - 1, min(count, len(fitted))).astype(int)]
    examples = read_scans(csv, images, [*chosen, *tuned], artifact.manifest.preprocessing, cache=cache)
    kept = set(tuned)
    judged = np.array([row in kept for row in examples.rows], np.bool_)
    rows = tuple(row for row in examples.rows if row in kept)
    return Int8Scans(
        calibration=np.asarray(examples.pixels[examples.indices[~judged]]),
        validation=Subset(
            rows=rows,
            pixels=examples.pixels,
            indices=examples.indices[judged],
            labels=label_matrix(rows, artifact.manifest.findings),
        ),
    )


def export_int8(
    artifact: Artifact, scans: Int8Scans, *, models: ModelStore, max_loss: float, rounds: int = ROUNDS
) -> Int8Export:
    """Write the int8 format beside the artifact, if the bound of its loss of mean AUROC lies below `max_loss`.

    Raises:
        UserError: it does not, and nothing was written; the model was not exported to OpenVINO, the scans have no
            finding with both classes, or the artifact's place cannot be written.
    """
    exports, floats = read_exports(artifact), choose_floats("auto")
    graph, weights = read_format(artifact, "openvino").values()
    core, size = openvino.Core(), artifact.manifest.batch_size
    pixels = np.asarray(scans.validation.pixels[scans.validation.indices])
    with staging_folder() as staging:
        print_status(f"quantizing by {len(scans.calibration)} training scans")
        quantized = quantize(core.read_model(graph, weights), scans.calibration, size)
        openvino.save_model(quantized, staging / OPENVINO_INT8_FILE, compress_to_fp16=False)
        print_status(f"comparing int8 with float32 on {len(pixels)} validation scans")
        exact = _scores(core.read_model(graph, weights), pixels, size, "float32")
        rough = _scores(core.read_model(staging / OPENVINO_INT8_FILE), pixels, size, floats)
        compared = compare(scans.validation.rows, scans.validation.labels, exact, rough, rounds=rounds)
        export = Int8Export(
            runtime=f"openvino {openvino.__version__.split('-')[0]}",
            rest=floats,
            quantizer=f"nncf {version('nncf')}",
            calibrated_on=len(scans.calibration),
            files={file: file_sha256(staging / file) for file in FILES[INT8]},
            max_difference=float(np.abs(rough - exact).max()),
            max_loss=max_loss,
            **_proved(scans.validation, compared, max_loss=max_loss),
            resamples=rounds,
        )
        write_exports(staging, artifact.sha256, {**exports.formats, INT8: export})
        models.add(artifact, staging, last=EXPORTS_FILE)
    return export


def quantize(graph: Any, pixels: Pixels, batch_size: int) -> Any:
    """The graph in int8 where that is faster, by the numbers that uint8 (N, H, W, C) scans bring about in it."""
    # Else it would tell its makers of each use. It reads this when it is imported.
    os.environ["NNCF_CI"] = "1"
    # Its bars and lines are no result.
    with redirect_stdout(sys.stderr):
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        # Not by its own `set_log_level`, which silences every handler of this process.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        batches = [pixels[at : at + batch_size] for at in range(0, len(pixels), batch_size)]
        # The least and the greatest number. By default it is the mean of each batch's: of single scans' it cuts off
        # so much that a DenseNet121 lost 0.05 of AUROC, where by this it lost nothing.
        whole = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        )
        return nncf.quantize(
            graph,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            advanced_parameters=whole,
        )


def compare(
    rows: Sequence[LabelRow],
    labels: NDArray[np.float32],
    float32: NDArray[np.float32],
    int8: NDArray[np.float32],
    *,
    rounds: int = ROUNDS,
) -> Comparison:
    """Judge both scores, float32 (N, findings), by labels, float32 (N, findings), of rows (N,)."""
    truth, both = labels > 0, (float32.astype(np.float64), int8.astype(np.float64))

    def figures(times: CountArray) -> list[float | None]:
        areas = [
            [roc_curve(truth[:, at], scores[:, at], times).auroc for scores in both] for at in range(truth.shape[1])
        ]
        known = [pair for pair in areas if None not in pair]
        if not known:
            return [None, None, None]
        first, second = np.mean(np.array(known, np.float64), axis=0).tolist()
        return [first, second, first - second]

    first, second, loss = bootstrap_patients(patients_of(rows), figures, rounds=rounds, percentiles=_PERCENTILES)
    return Comparison(float32=first, int8=second, loss=loss)


def in_words(export: Int8Export) -> str:
    """What was found, for the person who asked."""
    return (
        f"{INT8}: {', '.join(export.files)}; mean AUROC {export.auroc_float32:.4f} in float32 and"
        f" {export.auroc_int8:.4f} in int8 over {export.findings} findings, on {export.scans} validation scans of"
        f" {export.patients} patients; the loss is at most {export.loss_bound:.4f} (one-sided 95% bound,"
        f" {export.resamples} draws of patients); scores differ from float32 by at most {export.max_difference:.2g}"
    )


def _check_scans(csv: Path, name: str, fitted: Sequence[LabelRow], tuned: Sequence[LabelRow]) -> None:
    patients = len(set(patients_of(tuned)))
    if not fitted:
        raise UserError(f"{csv}: {name} was fitted on none of its scans; --int8 needs the CSV that it was fitted on")
    if patients < LEAST_PATIENTS:
        raise UserError(
            f"{csv}: holds {len(tuned)} labelled scans of {patients} patients that {name} was validated and not fitted"
            f" on; --int8 is judged on these alone, and needs {LEAST_PATIENTS} patients"
        )


def _proved(validation: Subset, compared: Comparison, *, max_loss: float) -> dict[str, Any]:
    scans, patients = len(validation.rows), len(set(patients_of(validation.rows)))
    findings = sum(has_both_classes(validation.labels[:, at] > 0) for at in range(validation.labels.shape[1]))
    float32, int8, bound = compared.float32.value, compared.int8.value, compared.loss.high
    if float32 is None or int8 is None or bound is None:
        raise UserError(f"int8: no finding has both classes on {scans} validation scans; nothing was written")
    if not bound < max_loss:
        raise UserError(
            f"int8: mean AUROC {float32:.4f} in float32 and {int8:.4f} in int8 over {findings} findings, on {scans}"
            f" validation scans of {patients} patients; the loss may be {bound:.4f} (one-sided 95% bound), not below"
            f" --max-loss {max_loss:g}; nothing was written"
        )
    return {
        "scans": scans,
        "patients": patients,
        "findings": findings,
        "auroc_float32": float32,
        "auroc_int8": int8,
        "loss_bound": bound,
    }


def _scores(graph: Any, pixels: Pixels, size: int, floats: Floats) -> NDArray[np.float32]:
    """As a worker computes them."""
    request = compile_graph(graph, (size, *pixels.shape[1:]), floats).create_infer_request()
    passes = [np.array(request.infer([padded(pixels[at : at + size], size)])[0]) for at in range(0, len(pixels), size)]
    return np.concatenate(passes)[: len(pixels)]
