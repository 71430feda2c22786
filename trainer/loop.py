"""The training loop: fits a model and keeps the weights that did best on the validation subset."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.metrics import auroc
from trainer.batches import TrainingBatches
from worker.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Pixels, uint8 (N, H, W, C), and their labels, float32 (N, findings); the first finding leads."""

    pixels: Pixels
    labels: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch came to."""

    epoch: int
    loss: float
    #: Of the first finding, on the validation subset; None where it has one class only.
    validation_auroc: float | None


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How to fit. The learning rate is its peak: a tenth of the steps lead up to it, a cosine leads down."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def train(
    model: Any, fitted: Subset, validation: Subset, options: LoopOptions, *, on_epoch: Callable[[Epoch], None]
) -> list[Epoch]:
    """Fit a model in place and leave it with the weights of its best epoch."""
    batches = TrainingBatches(fitted.pixels, fitted.labels, batch_size=options.batch_size, seed=options.seed)
    model.compile(
        optimizer=keras.optimizers.Adam(_schedule(options, len(batches))),
        loss="binary_crossentropy",
        # TensorFlow needs no XLA, which takes a minute to compile this on two cores; JAX without it would crawl.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    keeper = _Keeper(model=model, validation=validation, on_epoch=on_epoch)
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: keeper.after(epoch, logs["loss"]))
    model.fit(batches, epochs=options.epochs, verbose=0, callbacks=[callback])
    model.set_weights(keeper.weights)
    return keeper.epochs


@dataclass(kw_only=True)
class _Keeper:
    """Watches the epochs and keeps the best one's weights."""

    model: Any
    validation: Subset
    on_epoch: Callable[[Epoch], None]
    epochs: list[Epoch] = field(default_factory=list)
    weights: list[NDArray[Any]] = field(default_factory=list)
    best: float = 0.0

    def after(self, number: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise UserError(f"epoch {number + 1}: the loss is no longer a number; a lower --learning-rate may help")
        epoch = Epoch(epoch=number + 1, loss=float(loss), validation_auroc=self._auroc())
        self.epochs.append(epoch)
        merit = epoch.validation_auroc or 0.0
        # Of equals the later one: it has learned longer.
        if merit >= self.best:
            self.best, self.weights = merit, self.model.get_weights()
        self.on_epoch(epoch)

    def _auroc(self) -> float | None:
        scores = self.model.predict(self.validation.pixels, batch_size=32, verbose=0)
        return auroc(self.validation.labels[:, 0] > 0, scores[:, 0].astype(np.float64))


def _schedule(options: LoopOptions, steps_an_epoch: int) -> Any:
    steps = options.epochs * steps_an_epoch
    return keras.optimizers.schedules.CosineDecay(
        0.1 * options.learning_rate,
        max(1, steps - steps // 10),
        warmup_target=options.learning_rate,
        warmup_steps=steps // 10,
    )
