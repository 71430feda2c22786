"""Batches for training and for scoring; training scans are augmented differently in each epoch.

Random numbers depend on the seed, the epoch and the scan's index, never on the order of calls. So any number of threads
may prepare batches, and a resumed fit sees the same batches as one that was not interrupted.
"""

import math
import os
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.recipe import Recipe
from worker.artifacts.keras_import import keras
from worker.images.pixels import Pixels

#: Part of the seed, so that the order of scans and their augmentation draw different random numbers.
_ORDER_STREAM, _AUGMENTATION_STREAM = range(2)
#: Threads that prepare batches while a step runs; cv2 releases the GIL, so they run in parallel.
_THREADS: Final = min(8, os.cpu_count() or 1)


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented batches of one fixed size. Scans that do not fill a batch are left out of that epoch."""

    def __init__(self, pixels: Pixels, indices: NDArray[np.int64], labels: NDArray[np.float32], recipe: Recipe) -> None:
        """`pixels` are uint8 (M, H, W, C), `indices` (N,) chooses from them, `labels` are float32 (N, findings)."""
        super().__init__(workers=_THREADS, max_queue_size=2 * _THREADS)
        self._pixels, self._indices, self._labels, self._recipe = pixels, indices, labels, recipe
        self.batch_size = min(recipe.batch_size, len(indices))
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch, counted from 0."""
        self._epoch = epoch
        self._order = np.random.default_rng([self._recipe.seed, _ORDER_STREAM, epoch]).permutation(len(self._indices))

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._indices) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.float32]]:
        """One batch: uint8 (B, H, W, C) and float32 (B, findings)."""
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return np.stack([self._augmented(self._indices[number]) for number in chosen]), self._labels[chosen]

    def _augmented(self, index: int) -> Pixels:
        rng = np.random.default_rng([self._recipe.seed, _AUGMENTATION_STREAM, self._epoch, index])
        return augment(self._pixels[index], self._recipe, rng)


class ScoringBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Scans in their order. The last batch is filled with scans again: TensorFlow compiles once per size of batch."""

    def __init__(self, pixels: Pixels, indices: NDArray[np.int64], *, batch_size: int = 32) -> None:
        """`pixels` are uint8 (M, H, W, C), and `indices` (N,) chooses from them."""
        super().__init__(workers=_THREADS)
        self._pixels, self._batch_size = pixels, batch_size
        self._indices = np.resize(indices, math.ceil(len(indices) / batch_size) * batch_size)

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._indices) // self._batch_size

    def __getitem__(self, index: int) -> tuple[Pixels]:
        """One batch: a tuple of uint8 (B, H, W, C)."""
        return (self._pixels[self._indices[index * self._batch_size : (index + 1) * self._batch_size]],)


def augment(pixels: Pixels, recipe: Recipe, rng: np.random.Generator) -> Pixels:
    """Rotate, zoom, shift and maybe mirror a scan, and change its contrast and brightness: uint8 (H, W, C) to the same.

    Pixels that move in repeat the edge, because a black border would look like a collimator's.
    """
    height, width, _ = pixels.shape
    matrix: NDArray[Any] = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2),
        rng.uniform(-recipe.rotation, recipe.rotation),
        1 + rng.uniform(-recipe.zoom, recipe.zoom),
    )
    matrix[:, 2] += rng.uniform(-recipe.shift, recipe.shift, 2) * np.array([width, height])
    is_mirrored, gain = rng.random() < recipe.mirror, 1 + rng.uniform(-recipe.contrast, recipe.contrast)
    offset = 255 * rng.uniform(-recipe.brightness, recipe.brightness)
    image: NDArray[Any] = pixels
    if recipe.rotation or recipe.zoom or recipe.shift:
        image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if is_mirrored:
        image = cv2.flip(image, 1)
    if recipe.contrast or recipe.brightness:
        image = cv2.addWeighted(image, gain, image, 0, offset)
    return np.asarray(image, np.uint8).reshape(pixels.shape)
