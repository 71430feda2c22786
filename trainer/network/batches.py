"""Batches for fitting and for scoring; a training scan is a little moved and otherwise exposed each time it is seen.

Random numbers come from the seed, the epoch and the scan's place, never from the order of calls: any number of threads
may prepare batches, and a fit that goes on after a kill sees what it would have seen.
"""

import math
import os
from typing import Any, Final

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from trainer.recipe import Recipe
from worker.images.pixels import Pixels

#: Keeps the random numbers of orders and of scans apart.
_ORDER, _SCAN = range(2)
#: Threads that prepare batches while a step runs; cv2 lets them run at once.
_THREADS: Final = min(8, os.cpu_count() or 1)


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented batches of one fixed size; a remainder waits for the next epoch's order."""

    def __init__(self, pixels: Pixels, places: NDArray[np.int64], labels: NDArray[np.float32], recipe: Recipe) -> None:
        """Take uint8 (M, H, W, C) pixels, (N,) places in them and float32 (N, findings) labels."""
        super().__init__(workers=_THREADS, max_queue_size=2 * _THREADS)
        self._pixels, self._places, self._labels, self._recipe = pixels, places, labels, recipe
        self.batch_size = min(recipe.batch_size, len(places))
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Take the order of this epoch, counted from 0."""
        self._epoch = epoch
        self._order = np.random.default_rng([self._recipe.seed, _ORDER, epoch]).permutation(len(self._places))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._places) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.float32]]:
        """One batch: uint8 (B, H, W, C) and float32 (B, findings)."""
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return np.stack([self._augmented(self._places[one]) for one in chosen]), self._labels[chosen]

    def _augmented(self, place: int) -> Pixels:
        rng = np.random.default_rng([self._recipe.seed, _SCAN, self._epoch, place])
        return augment(self._pixels[place], self._recipe, rng)


class ScoringBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Scans in their order, the last batch shorter."""

    def __init__(self, pixels: Pixels, places: NDArray[np.int64], *, batch_size: int = 32) -> None:
        """Take uint8 (M, H, W, C) pixels and (N,) places in them."""
        super().__init__(workers=_THREADS)
        self._pixels, self._places, self._batch_size = pixels, places, batch_size

    def __len__(self) -> int:
        """Batches, the last one included."""
        return math.ceil(len(self._places) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Pixels]:
        """One batch: uint8 (B, H, W, C)."""
        return (self._pixels[self._places[index * self._batch_size : (index + 1) * self._batch_size]],)


def augment(pixels: Pixels, recipe: Recipe, rng: np.random.Generator) -> Pixels:
    """Turn, move and enlarge a scan, mirror some, and expose it otherwise: uint8 (H, W, C) as before.

    What moves in is the edge repeated, for a black border would be a collimator's.
    """
    height, width, _ = pixels.shape
    change: NDArray[Any] = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2),
        rng.uniform(-recipe.rotation, recipe.rotation),
        1 + rng.uniform(-recipe.zoom, recipe.zoom),
    )
    change[:, 2] += rng.uniform(-recipe.shift, recipe.shift, 2) * np.array([width, height])
    mirrored, gain = rng.random() < recipe.mirror, 1 + rng.uniform(-recipe.contrast, recipe.contrast)
    offset = 255 * rng.uniform(-recipe.brightness, recipe.brightness)
    if not _moves(recipe):
        moved: NDArray[Any] = pixels
    else:
        moved = cv2.warpAffine(pixels, change, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if mirrored:
        moved = cv2.flip(moved, 1)
    if recipe.contrast or recipe.brightness:
        moved = cv2.addWeighted(moved, gain, moved, 0, offset)
    return np.asarray(moved, np.uint8).reshape(pixels.shape)


def _moves(recipe: Recipe) -> bool:
    return bool(recipe.rotation or recipe.zoom or recipe.shift)
