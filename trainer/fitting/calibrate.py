"""Calibrates a fitted model on validation: temperatures for its scores, and thresholds for its predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from db.metrics.formulas import has_both_classes, roc_curve
from trainer.data.labels import known_only
from trainer.network.model import LOGITS

#: Temperatures are searched for between 1/10 and 10.
_MAX_LOG_TEMPERATURE: Final = np.log(10.0)
#: Recall on validation at the threshold `sensitivity_90`.
_SENSITIVITY_90: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A finding's logit z becomes the score sigmoid((z - shift) / temperature)."""

    #: Logarithm of the weight of positives in the fit, because a weight of w raises the optimal logit by log w.
    #: Source: Elkan, The foundations of cost-sensitive learning, IJCAI 2001, theorem 2.
    shift: float
    #: Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    temperature: float


def calibrate(
    labels: NDArray[np.float32], logits: NDArray[np.float32], weights: NDArray[np.float32]
) -> list[Calibration]:
    """Calibrate each finding.

    Args:
        labels: (N, findings) of validation scans: 1, 0, or NaN for unknown.
        logits: (N, findings) of these scans.
        weights: (findings,), the weights of positives in the fit.

    Returns:
        One calibration per finding. A finding with only one class has temperature 1.
    """
    calibrations = []
    for index, weight in enumerate(weights):
        shift = float(np.log(weight))
        temperature = _temperature(*known_only(labels[:, index], logits[:, index] - shift))
        calibrations.append(Calibration(shift=shift, temperature=temperature))
    return calibrations


def fold_calibrations(model: Any, calibrations: Sequence[Calibration]) -> None:
    """Fold calibrations into the model's last dense layer, so that its scores are calibrated wherever it runs."""
    layer = model.get_layer(LOGITS)
    kernel, bias = layer.get_weights()
    temperatures = np.array([one.temperature for one in calibrations])
    shifts = np.array([one.shift for one in calibrations])
    layer.set_weights([kernel / temperatures, (bias - shifts) / temperatures])


def choose_thresholds(labels: NDArray[np.float32], scores: NDArray[np.float32]) -> dict[str, float]:
    """Choose thresholds for one finding, from validation labels (1, 0, or NaN for unknown) and scores (N,).

    Returns:
        `best_f1`, `youden` and `sensitivity_90` to thresholds; empty if validation has only one class.
    """
    labels, scores = known_only(labels, scores)
    truth = labels > 0
    if not has_both_classes(truth):
        return {}
    ranked = roc_curve(truth, scores.astype(np.float64))
    chosen = {
        "best_f1": ranked.best_f1_threshold,
        "youden": ranked.youden_threshold,
        "sensitivity_90": ranked.threshold_at_recall(_SENSITIVITY_90),
    }
    return {name: threshold for name, threshold in chosen.items() if threshold is not None}


def _temperature(labels: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    if not has_both_classes(labels > 0):
        return 1.0
    z, y = logits.astype(np.float64), labels.astype(np.float64)

    def crossentropy(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    bounds = (-_MAX_LOG_TEMPERATURE, _MAX_LOG_TEMPERATURE)
    return float(np.exp(minimize_scalar(crossentropy, bounds=bounds, method="bounded").x))
