"""What validation alone decides after a fit: temperatures that make scores honest, and thresholds to predict by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from db.metrics.formulas import has_both_classes, roc_curve
from trainer.network.model import LOGITS

#: Temperatures are sought between a tenth and ten.
_REACH: Final = np.log(10.0)
#: The recall that `sensitivity_90` keeps on validation.
_SENSITIVITY: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a finding's logit z becomes its score: sigmoid((z - shift) / temperature)."""

    #: Logarithm of the weight of positives in the fit: weighting by w moves the optimum's logit by log w.
    #: Source: Elkan, The foundations of cost-sensitive learning, IJCAI 2001, theorem 2.
    shift: float
    #: Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    temperature: float


def calibrate(
    labels: NDArray[np.float32], logits: NDArray[np.float32], weights: NDArray[np.float32]
) -> list[Calibration]:
    """One calibration a finding, from validation labels and logits (N, findings) and the fit's weights (findings,).

    A finding with one class only keeps temperature 1: there is nothing to learn it from.
    """
    found = []
    for at, weight in enumerate(weights):
        shift = float(np.log(weight))
        found.append(Calibration(shift=shift, temperature=_temperature(labels[:, at], logits[:, at] - shift)))
    return found


def bake(model: Any, calibrations: Sequence[Calibration]) -> None:
    """Put calibrations into the model's last dense layer, so that whoever scores with it needs to know nothing."""
    layer = model.get_layer(LOGITS)
    kernel, bias = layer.get_weights()
    temperatures = np.array([one.temperature for one in calibrations])
    shifts = np.array([one.shift for one in calibrations])
    layer.set_weights([kernel / temperatures, (bias - shifts) / temperatures])


def choose_thresholds(labels: NDArray[np.float32], scores: NDArray[np.float32]) -> dict[str, float]:
    """Thresholds of one finding, from validation labels and scores (N,): best F1, Youden's, sensitivity 0.90.

    Empty where validation has one class only.
    """
    truth = labels > 0
    if not has_both_classes(truth):
        return {}
    ranked = roc_curve(truth, scores.astype(np.float64))
    chosen = {
        "best_f1": ranked.best_f1_threshold,
        "youden": ranked.youden_threshold,
        "sensitivity_90": ranked.threshold_at_recall(_SENSITIVITY),
    }
    return {name: threshold for name, threshold in chosen.items() if threshold is not None}


def _temperature(labels: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    if not has_both_classes(labels > 0):
        return 1.0
    z, y = logits.astype(np.float64), labels.astype(np.float64)

    def crossentropy(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    return float(np.exp(minimize_scalar(crossentropy, bounds=(-_REACH, _REACH), method="bounded").x))
