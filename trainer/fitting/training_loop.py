"""The training loop: fits a model epoch by epoch, keeps the weights that did best on validation, survives kill -9."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.metrics.formulas import auroc, confusion_matrix_at
from trainer.data.training_data import Subset
from trainer.fitting.checkpoint import FitState, StateFile
from trainer.network.batches import TrainingBatches
from trainer.network.compiled_model import make_learner
from trainer.network.predict import predict
from trainer.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch came to; watched is the subset that was not fitted. Accuracy is of the first finding."""

    epoch: int
    #: Means over the epoch's steps, of augmented scans.
    loss: float
    accuracy: float
    #: Plain crossentropy, weights or not.
    watched_loss: float
    watched_accuracy: float
    #: Of the first finding; None where the watched subset has one class only.
    watched_auroc: float | None
    #: Over the findings of which the watched subset has both classes.
    watched_mean_auroc: float | None
    seconds: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a fit is; all counted from 1."""

    epoch: int
    step: int
    steps: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who is told how the fit goes."""

    on_step: Callable[[Step], None] = lambda _: None
    on_epoch: Callable[[Epoch], None] = lambda _: None


def train(
    model: Any, fitted: Subset, watched: Subset, recipe: Recipe, state: StateFile, *, listener: Listener, select: bool
) -> tuple[Epoch, ...]:
    """Fit a model in place; the state file is read first and written after each epoch.

    With `select`, the fit ends early when the watched AUROC no longer rises, and leaves the weights of its best epoch;
    without, it leaves the last ones.

    Raises:
        UserError: the loss is no longer a number.
    """
    batches = TrainingBatches(fitted.pixels, fitted.places, fitted.labels, recipe)
    learner = make_learner(model, fitted.labels, recipe, steps=recipe.epochs * len(batches))
    earlier = state.read()
    if earlier is not None:
        _put(_variables(learner), earlier.variables)
    history = [Epoch(**one) for one in earlier.history] if earlier else []
    best = earlier.best if earlier else learner.get_weights()
    while len(history) < recipe.epochs and not (select and _gave_up(history, recipe.patience)):
        number = len(history)
        raw, fitted_for = _fit_epoch(learner, batches, number, listener)
        judged = judge(watched.labels, predict(learner, watched.pixels, watched.places))
        history.append(Epoch(epoch=number + 1, **fitted_for, **judged))
        if not select or _best_epoch(history) == number:
            best = learner.get_weights()
        learner.set_weights(raw)
        state.write(FitState(variables=_arrays(learner), best=best, history=[asdict(one) for one in history]))
        listener.on_epoch(history[-1])
    learner.set_weights(best)
    return tuple(history)


def judge(labels: NDArray[np.float32], logits: NDArray[np.float32]) -> dict[str, Any]:
    """The watched figures of an `Epoch`."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    truth = labels > 0
    areas = [auroc(truth[:, at], scores[:, at]) for at in range(truth.shape[1])]
    known = [area for area in areas if area is not None]
    return {
        "watched_loss": float(np.mean(np.logaddexp(0, logits) - labels * logits)),
        "watched_accuracy": confusion_matrix_at(truth[:, 0], scores[:, 0], 0.5).accuracy,
        "watched_auroc": areas[0],
        "watched_mean_auroc": float(np.mean(known)) if known else None,
    }


def _fit_epoch(
    learner: Any, batches: TrainingBatches, number: int, listener: Listener
) -> tuple[list[NDArray[Any]], dict[str, Any]]:
    """Fit one epoch: its raw weights and its figures. The learner has the average of weights, if the recipe asks so."""
    batches.begin(number)
    follower = _Follower(number=number, batches=batches, listener=listener)
    began = time.monotonic()
    # One epoch a call: what happens between epochs is then in plain sight, in the loop above. Unshuffled, for Keras
    # would shuffle batches by a generator that a fit which goes on does not have.
    fitted = learner.fit(
        batches,
        initial_epoch=number,
        epochs=number + 1,
        shuffle=False,
        verbose=0,
        callbacks=[follower],
    )
    seconds = time.monotonic() - began
    loss = float(fitted.history["loss"][0])
    if not math.isfinite(loss):
        raise UserError(f"epoch {number + 1}: the loss is no longer a number; a lower --learning-rate may help")
    return follower.raw, {
        "loss": loss,
        "accuracy": float(fitted.history["_accuracy"][0]),
        "seconds": round(seconds, 2),
        "images_per_second": round(len(batches) * batches.batch_size / seconds, 2),
    }


class _Follower(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells each step, and keeps the weights as they are before Keras puts their average in place of them."""

    def __init__(self, *, number: int, batches: TrainingBatches, listener: Listener) -> None:
        super().__init__()
        self._number, self._batches, self._listener = number, batches, listener
        self.raw: list[NDArray[Any]] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002 - Keras' own names
        where = Step(
            epoch=self._number + 1, step=batch + 1, steps=len(self._batches), batch_size=self._batches.batch_size
        )
        self._listener.on_step(where)

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        self.raw = self.model.get_weights()


def _best_epoch(history: Sequence[Epoch]) -> int:
    # Of equals the later one: it has learned longer.
    return max(range(len(history)), key=lambda at: (history[at].watched_auroc or 0.0, at))


def _gave_up(history: Sequence[Epoch], patience: int) -> bool:
    return bool(history) and len(history) - 1 - _best_epoch(history) >= patience


def _variables(learner: Any) -> list[Any]:
    # Weights, what dropout's random numbers have come to, and the optimizer's moments.
    return [*learner.variables, *learner.optimizer.variables]


def _arrays(learner: Any) -> list[NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(learner)]


def _put(variables: Sequence[Any], arrays: Sequence[NDArray[Any]]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
