"""What is fitted: the model up to its logits, with its loss, its optimizer and where its scores begin."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.network.model import LOGITS, logits_of
from trainer.recipe import Recipe

Labels = NDArray[np.float32]


def make_learner(model: Any, labels: Labels, recipe: Recipe, *, steps: int) -> Any:
    """Compile the model's logits for `steps` steps on a subset with these labels, float32 (N, findings)."""
    weights = positive_weights(labels, recipe)
    if recipe.prior_bias:
        _start_at_prevalence(model, labels, weights)
    learner = logits_of(model)
    optimizer = _optimizer(recipe, steps)
    learner.compile(
        optimizer=optimizer,
        loss=_weighted_crossentropy(weights),
        metrics=[_accuracy],
        # TensorFlow needs no XLA, which takes a minute to compile this on two cores; JAX without it would crawl.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    # Now, for a fit that goes on has the optimizer's state to put in.
    optimizer.build(learner.trainable_variables)
    _build_figures(learner, findings=labels.shape[1])
    return learner


def positive_weights(labels: Labels, recipe: Recipe) -> NDArray[np.float32]:
    """How much a positive weighs, float32 (findings,): ((1 - p) / p) ** balance of its prevalence p."""
    share = _prevalence(labels)
    return (((1 - share) / share) ** recipe.balance).astype(np.float32)


def _build_figures(learner: Any, *, findings: int) -> None:
    # Left to itself Keras builds them by a batch that, on JAX, it takes from the first epoch and does not give back.
    nothing = keras.ops.zeros((1, findings))
    learner.compute_loss(y=nothing, y_pred=nothing)
    learner.compute_metrics(None, nothing, nothing)
    learner.reset_metrics()


def _prevalence(labels: Labels) -> NDArray[np.float64]:
    # Half a scan more of either kind, for a logarithm needs both.
    share: NDArray[np.float64] = (labels.sum(axis=0, dtype=np.float64) + 0.5) / (len(labels) + 1)
    return share


def _start_at_prevalence(model: Any, labels: Labels, weights: NDArray[np.float32]) -> None:
    # Else the first epochs go by until each rare finding's scores have come down from 0.5. Weighted positives move the
    # optimum's logit up by the weight's logarithm.
    share = _prevalence(labels)
    model.get_layer(LOGITS).bias.assign(np.log(share / (1 - share)) + np.log(weights))


def _optimizer(recipe: Recipe, steps: int) -> Any:
    rate = _schedule(recipe, steps)
    average = {"use_ema": True, "ema_momentum": recipe.averaging} if recipe.averaging else {}
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7, **average)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _weighted_crossentropy(weights: NDArray[np.float32]) -> Callable[[Any, Any], Any]:
    """The mean over findings of (1 + (w - 1) y) (log(1 + exp(z)) - y z), for labels y and logits z."""

    def loss(labels: Any, logits: Any) -> Any:
        plain = keras.ops.softplus(logits) - labels * logits
        return keras.ops.mean((1 + keras.ops.multiply(weights - 1, labels)) * plain, axis=-1)

    return loss


def _accuracy(labels: Any, logits: Any) -> Any:
    return keras.ops.cast(keras.ops.equal(logits[:, 0] >= 0, labels[:, 0] > 0), "float32")


def _schedule(recipe: Recipe, steps: int) -> Any:
    if recipe.decay == "constant":
        return recipe.learning_rate
    warmup = round(recipe.warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20, max(1, steps - warmup), warmup_target=recipe.learning_rate, warmup_steps=warmup
    )
