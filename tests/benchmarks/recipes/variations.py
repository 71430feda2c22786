"""What the recipe has no knob for, until a gain is proved: other batches, and another loss.

`varied` lets the trainer's own loop fit with them, so that everything else of a try is a fit as `trainer fit` does it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.recipes.tries import Try
from trainer.fitting import training_loop
from trainer.network import compiled_model
from trainer.network.batches import TrainingBatches
from trainer.recipe import Recipe
from worker.artifacts.keras_import import keras
from worker.images.pixels import Pixels

#: Part of the seed, besides those of `trainer.network.batches`.
_VARIATION_STREAM: Final = 2
#: Of the beta distributions that mixup and cutmix draw from. Sources: Zhang et al., mixup, ICLR 2018; Yun et al.,
#: CutMix, ICCV 2019.
_MIXUP_ALPHA, _CUTMIX_ALPHA = 0.4, 1.0
#: Least and largest share of the area that is erased. Source: Zhong et al., Random erasing, AAAI 2020.
_ERASED: Final = (0.02, 0.2)
#: Focusing of positives and negatives, and the probability below which a negative costs nothing. Source: Ben-Baruch
#: (Ridnik) et al., Asymmetric loss for multi-label classification, ICCV 2021.
_GAMMA_POSITIVE, _GAMMA_NEGATIVE, _MARGIN = 0.0, 4.0, 0.05


@contextmanager
def varied(one: Try) -> Iterator[None]:
    """Within the block `trainer.fitting.training_loop.train` fits with the variations of a try."""
    with ExitStack() as stack:
        batches = partial(VariedBatches, variation=one)
        stack.enter_context(patch.object(training_loop, "TrainingBatches", batches))
        if one.asymmetric:
            loss = patch.object(compiled_model, "_weighted_crossentropy", lambda weights: asymmetric_loss)
            stack.enter_context(loss)
        yield


class VariedBatches(TrainingBatches):
    """The trainer's batches with a try's variations; without any they are the trainer's own."""

    def __init__(
        self,
        pixels: Pixels,
        indices: NDArray[np.int64],
        labels: NDArray[np.float32],
        recipe: Recipe,
        *,
        variation: Try,
    ) -> None:
        """See `TrainingBatches`."""
        super().__init__(pixels, indices, labels, recipe)
        self._variation = variation

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.float32]]:
        """One batch: uint8 (B, H, W, C) and float32 (B, findings), where labels may lie between 0 and 1."""
        pixels, labels = super().__getitem__(index)
        one = self._variation
        rng = np.random.default_rng([self._recipe.seed, _VARIATION_STREAM, self._epoch, index])
        if one.erasing:
            pixels = erase(pixels, one.erasing, rng)
        if one.mixing == "mixup":
            pixels, labels = mixup(pixels, labels, rng)
        elif one.mixing == "cutmix":
            pixels, labels = cutmix(pixels, labels, rng)
        return pixels, (labels * (1 - one.smoothing) + one.smoothing / 2).astype(np.float32)


def erase(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Fill a box of some of the scans with the scan's mean."""
    erased = pixels.copy()
    for number in np.flatnonzero(rng.random(len(pixels)) < share):
        rows, columns = _box(pixels.shape[1:3], rng.uniform(*_ERASED), rng)
        erased[number, rows, columns] = pixels[number].mean()
    return erased


def mixup(pixels: Pixels, labels: NDArray[np.float32], rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float32]]:
    """Mix each scan with another. Where the label of either is unknown, so is that of the mixture."""
    other, weight = rng.permutation(len(pixels)), rng.beta(_MIXUP_ALPHA, _MIXUP_ALPHA, (len(pixels), 1, 1, 1))
    mixed = np.rint(weight * pixels + (1 - weight) * pixels[other]).astype(np.uint8)
    return mixed, _mix_labels(labels, other, weight[:, :, 0, 0])


def cutmix(pixels: Pixels, labels: NDArray[np.float32], rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float32]]:
    """Replace one box of all scans by that of others. Labels are mixed as `mixup` does, by the areas."""
    other, (height, width) = rng.permutation(len(pixels)), pixels.shape[1:3]
    rows, columns = _box((height, width), 1 - rng.beta(_CUTMIX_ALPHA, _CUTMIX_ALPHA), rng)
    mixed = pixels.copy()
    mixed[:, rows, columns] = pixels[other][:, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, _mix_labels(labels, other, np.full((len(pixels), 1), 1 - area / (height * width)))


def asymmetric_loss(labels: Any, logits: Any) -> Any:
    """The asymmetric loss; as in the trainer's crossentropy an unknown label adds nothing and is counted."""
    ops = keras.ops
    is_unknown = ops.isnan(labels)
    y, score = ops.where(is_unknown, 0.0, labels), ops.sigmoid(logits)
    shifted = ops.relu(score - _MARGIN)
    of_positive = ops.power(1 - score, _GAMMA_POSITIVE) * ops.softplus(-logits)
    of_negative = -ops.power(shifted, _GAMMA_NEGATIVE) * ops.log1p(-shifted)
    return ops.mean(ops.where(is_unknown, 0.0, y * of_positive + (1 - y) * of_negative), axis=-1)


def _mix_labels(labels: NDArray[np.float32], other: NDArray[np.int64], weight: NDArray[np.float64]) -> Any:
    return (weight * labels + (1 - weight) * labels[other]).astype(np.float32)


def _box(shape: tuple[int, int], share: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """A box of about this share of the area, anywhere within the image."""
    sides = [max(1, round(side * share**0.5)) for side in shape]
    starts = [int(rng.integers(0, whole - side + 1)) for whole, side in zip(shape, sides, strict=True)]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns
