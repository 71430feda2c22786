"""Training batches, each scan a little moved and otherwise exposed every time it is seen."""

from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from worker.pixels import Pixels

#: Of the image's side; hearts lie left, so nothing is ever mirrored.
_SHIFT: Final = 1 / 16
_CONTRAST: Final = 0.15
_BRIGHTNESS: Final = 20.0


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented batches of one fixed size; a remainder waits for the next epoch's order."""

    def __init__(self, pixels: Pixels, labels: NDArray[np.float32], *, batch_size: int, seed: int) -> None:
        """Take uint8 (N, H, W, C) pixels and float32 (N, findings) labels."""
        super().__init__()
        self._pixels, self._labels = pixels, labels
        self._batch_size = min(batch_size, len(pixels))
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(pixels))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._pixels) // self._batch_size

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.float32]]:
        """One batch: uint8 (B, H, W, C) and float32 (B, findings)."""
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return np.stack([augment(one, self._rng) for one in self._pixels[chosen]]), self._labels[chosen]

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self._order = self._rng.permutation(len(self._pixels))


def augment(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Move a scan by up to a sixteenth, and change its contrast and brightness lightly: uint8 (H, W, C) as before."""
    reach = [int(side * _SHIFT) for side in pixels.shape[:2]]
    padded = np.pad(pixels, ((reach[0], reach[0]), (reach[1], reach[1]), (0, 0)), mode="edge")
    top, left = (int(rng.integers(0, 2 * most + 1)) for most in reach)
    moved: NDArray[Any] = padded[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    light = moved * rng.uniform(1 - _CONTRAST, 1 + _CONTRAST) + rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)
    return np.clip(light, 0, 255).astype(np.uint8)
