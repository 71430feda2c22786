"""The training loop: fits epoch by epoch, keeps the weights of the best epoch, and resumes after kill -9."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.metrics.formulas import auroc, confusion_matrix_at
from trainer.data.labels import is_known, known_only
from trainer.data.training_data import Subset
from trainer.fitting.checkpoint import Checkpoint, CheckpointFile
from trainer.fitting.history import Epoch, best_epoch, stops_early
from trainer.network.batches import TrainingBatches
from trainer.network.compiled_model import compile_model
from trainer.network.predict import predict
from trainer.recipe import Recipe
from worker.artifacts.keras_import import keras


@dataclass(frozen=True, kw_only=True)
class Step:
    """The position of a fit; epoch and step count from 1."""

    epoch: int
    step: int
    #: In each epoch.
    steps: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Functions that are called during a fit, after each step and after each epoch."""

    on_step: Callable[[Step], None] = lambda _: None
    on_epoch: Callable[[Epoch], None] = lambda _: None


def train(
    model: Any,
    training: Subset,
    validation: Subset,
    recipe: Recipe,
    checkpoint_file: CheckpointFile,
    *,
    listener: Listener,
    select: bool,
) -> tuple[Epoch, ...]:
    """Fit a model in place. The fit resumes from the checkpoint file, which is written after each epoch.

    With `select`, the fit stops early once the validation AUROC no longer rises, and the model gets the weights of the
    best epoch. Without, the model gets the last weights.

    Raises:
        UserError: the loss is not finite, or the checkpoint file is unusable.
    """
    batches = TrainingBatches(training.pixels, training.indices, training.labels, recipe)
    compiled = compile_model(model, training.labels, recipe, steps=recipe.epochs * len(batches))
    history, best = _resume(compiled, checkpoint_file)
    while len(history) < recipe.epochs and not (select and stops_early(history, recipe.patience)):
        index = len(history)
        raw_weights, training_figures = _fit_epoch(compiled, batches, index, listener)
        logits = predict(compiled, validation.pixels, validation.indices)
        history.append(Epoch(epoch=index + 1, **training_figures, **validation_figures(validation.labels, logits)))
        if not select or best_epoch(history) == index:
            best = compiled.get_weights()
        compiled.set_weights(raw_weights)
        rows = [epoch.as_row() for epoch in history]
        checkpoint_file.write(Checkpoint(variables=_variable_arrays(compiled), best=best, history=rows))
        listener.on_epoch(history[-1])
    compiled.set_weights(best)
    return tuple(history)


def validation_figures(labels: NDArray[np.float32], logits: NDArray[np.float32]) -> dict[str, Any]:
    """The validation figures of an `Epoch`, from labels (1, 0, or NaN for unknown) and logits (N, findings)."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    columns = [known_only(labels[:, index], scores[:, index]) for index in range(labels.shape[1])]
    aurocs = [auroc(truth > 0, known) for truth, known in columns]
    defined = [value for value in aurocs if value is not None]
    first, first_scores = columns[0]
    losses = (np.logaddexp(0, logits) - labels * logits)[is_known(labels)]
    return {
        "validation_loss": float(np.mean(losses)) if losses.size else None,
        "validation_accuracy": confusion_matrix_at(first, first_scores, 0.5).accuracy,
        "validation_auroc": aurocs[0],
        "validation_mean_auroc": float(np.mean(defined)) if defined else None,
    }


def _resume(compiled: Any, checkpoint_file: CheckpointFile) -> tuple[list[Epoch], Sequence[NDArray[Any]]]:
    """Restore a checkpoint's variables; returns its history and best weights, or an empty history and the weights."""
    checkpoint = checkpoint_file.read()
    if checkpoint is None:
        return [], compiled.get_weights()
    for variable, array in zip(_variables(compiled), checkpoint.variables, strict=True):
        variable.assign(array)
    return [Epoch.from_row(row) for row in checkpoint.history], checkpoint.best


def _fit_epoch(
    compiled: Any, batches: TrainingBatches, index: int, listener: Listener
) -> tuple[list[NDArray[Any]], dict[str, Any]]:
    """Fit one epoch; returns its weights and training figures.

    If the recipe averages weights, the compiled model then has the averaged ones, and the returned ones are not
    averaged.
    """
    batches.start_epoch(index)
    callback = _EpochCallback(index=index, batches=batches, listener=listener)
    started = time.monotonic()
    # Each call of Keras fits one epoch, so that all work between epochs is in the loop above. Keras must not shuffle,
    # because a resumed fit would not have the state of its random generator.
    fitted = compiled.fit(
        batches, initial_epoch=index, epochs=index + 1, shuffle=False, verbose=0, callbacks=[callback]
    )
    seconds = time.monotonic() - started
    # Averaged weights share their arrays with the optimizer's average, which JAX would delete when the model predicts.
    compiled.set_weights(compiled.get_weights())
    loss = float(fitted.history["loss"][0])
    if not math.isfinite(loss):
        raise UserError(f"epoch {index + 1}: the loss is no longer a number; try a lower --learning-rate")
    return callback.raw_weights, {
        "loss": loss,
        "accuracy": float(fitted.history["first_finding_accuracy"][0]),
        "seconds": round(seconds, 2),
        "images_per_second": round(len(batches) * batches.batch_size / seconds, 2),
    }


class _EpochCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports each step, and keeps the weights before Keras replaces them by their average."""

    def __init__(self, *, index: int, batches: TrainingBatches, listener: Listener) -> None:
        super().__init__()
        self._index, self._batches, self._listener = index, batches, listener
        self.raw_weights: list[NDArray[Any]] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002 - Keras' own names
        steps, batch_size = len(self._batches), self._batches.batch_size
        self._listener.on_step(Step(epoch=self._index + 1, step=batch + 1, steps=steps, batch_size=batch_size))

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002 - Keras' own names
        self.raw_weights = self.model.get_weights()


def _variables(compiled: Any) -> list[Any]:
    # Weights, the state of dropout's random generator, and the optimizer's moments.
    return [*compiled.variables, *compiled.optimizer.variables]


def _variable_arrays(compiled: Any) -> list[NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(compiled)]
