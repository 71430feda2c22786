"""Compiles a model for a fit: up to its logits, with loss, optimizer, metrics and initial bias."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.network.model import LOGITS, logits_model
from trainer.recipe import Recipe
from worker.artifacts.keras_import import keras

Labels = NDArray[np.float32]


def compile_model(model: Any, labels: Labels, recipe: Recipe, *, steps: int) -> Any:
    """Compile the model up to its logits.

    Args:
        model: from `trainer.network.model.build_model`; the compiled model shares its weights.
        labels: float32 (N, findings) of the training subset: 1, 0, or NaN for unknown.
        recipe: loss, optimizer and schedule.
        steps: the number of steps of the whole fit, for the schedule.

    Returns:
        A compiled `keras.Model` from uint8 (B, H, W, C) to logits, float32 (B, findings).
    """
    weights = positive_weights(labels, recipe)
    if recipe.prior_bias:
        _start_at_prevalence(model, labels, weights)
    compiled = logits_model(model)
    optimizer = _optimizer(recipe, steps)
    compiled.compile(
        optimizer=optimizer,
        loss=_weighted_crossentropy(weights),
        metrics=[FirstFindingAccuracy()],
        # On two cores XLA takes a minute to compile, which TensorFlow can do without and JAX cannot.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    # A resumed fit restores the optimizer's state, so its variables must exist already.
    optimizer.build(compiled.trainable_variables)
    _build_metrics(compiled, findings=labels.shape[1])
    return compiled


def positive_weights(labels: Labels, recipe: Recipe) -> NDArray[np.float32]:
    """The weight of a positive, float32 (findings,): ((1 - p) / p) ** balance for a finding of prevalence p."""
    prevalence = _prevalence(labels)
    return (((1 - prevalence) / prevalence) ** recipe.balance).astype(np.float32)


def _build_metrics(compiled: Any, *, findings: int) -> None:
    # By default Keras builds them from a batch that, on JAX, is then missing from the first epoch.
    zeros = keras.ops.zeros((1, findings))
    compiled.compute_loss(y=zeros, y_pred=zeros)
    compiled.compute_metrics(None, zeros, zeros)
    compiled.reset_metrics()


def _prevalence(labels: Labels) -> NDArray[np.float64]:
    # Half a positive and half a negative are added, because the logarithm of the odds needs both.
    known = np.sum(~np.isnan(labels), axis=0)
    prevalence: NDArray[np.float64] = (np.nansum(labels, axis=0, dtype=np.float64) + 0.5) / (known + 1)
    return prevalence


def _start_at_prevalence(model: Any, labels: Labels, weights: NDArray[np.float32]) -> None:
    # Otherwise the first epochs are spent on lowering rare findings' scores from 0.5. A weight of positives raises the
    # optimal logit by its logarithm.
    prevalence = _prevalence(labels)
    model.get_layer(LOGITS).bias.assign(np.log(prevalence / (1 - prevalence)) + np.log(weights))


def _optimizer(recipe: Recipe, steps: int) -> Any:
    rate = _schedule(recipe, steps)
    average = {"use_ema": True, "ema_momentum": recipe.averaging} if recipe.averaging else {}
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7, **average)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _weighted_crossentropy(weights: NDArray[np.float32]) -> Callable[[Any, Any], Any]:
    """The mean over findings of (1 + (w - 1) y) (log(1 + exp(z)) - y z), for labels y and logits z.

    An unknown label adds nothing to the sum and is counted in the mean, so that a known one weighs the same in each
    scan.
    """

    def loss(labels: Any, logits: Any) -> Any:
        is_unknown = keras.ops.isnan(labels)
        # NaN times 0 is NaN, so it must be gone before the arithmetic and not after.
        y = keras.ops.where(is_unknown, 0.0, labels)
        unweighted = keras.ops.softplus(logits) - y * logits
        weighted = (1 + keras.ops.multiply(weights - 1, y)) * unweighted
        return keras.ops.mean(keras.ops.where(is_unknown, 0.0, weighted), axis=-1)

    return loss


class FirstFindingAccuracy(keras.metrics.Mean):  # type: ignore[misc]
    """Keras' metric `first_finding_accuracy`: at a score of 0.5, over the scans whose label is known."""

    def __init__(self) -> None:
        super().__init__(name="first_finding_accuracy")

    def update_state(self, labels: Any, logits: Any, sample_weight: None = None) -> None:  # noqa: ARG002 - Keras' own
        """Count a batch's labels (B, findings), 1, 0 or NaN for unknown, and logits (B, findings)."""
        first = labels[:, 0]
        is_right = keras.ops.equal(logits[:, 0] >= 0, first > 0)
        is_known = keras.ops.logical_not(keras.ops.isnan(first))
        super().update_state(is_right, sample_weight=keras.ops.cast(is_known, self.dtype))


def _schedule(recipe: Recipe, steps: int) -> Any:
    if recipe.decay == "constant":
        return recipe.learning_rate
    warmup = round(recipe.warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20, max(1, steps - warmup), warmup_target=recipe.learning_rate, warmup_steps=warmup
    )
