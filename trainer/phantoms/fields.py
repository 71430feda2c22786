"""Fields: images of float32 that anatomy and findings are drawn with, and their basic shapes."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]

#: Side in pixels. Fields are enlarged to a film later, because anatomy has no detail that more pixels would show.
FIELD_SIDE: Final = 256


def smooth_step(x: Field, width: float) -> Field:
    """A sigmoid step of this width, from 0 where x is negative to 1 where it is positive, float32."""
    step: Field = (1 / (1 + np.exp(np.clip(-x / width, -30, 30)))).astype(np.float32)
    return step


def gaussian_spot(u: Field, v: Field, center: tuple[float, float], widths: tuple[float, float]) -> Field:
    """A Gaussian spot of height 1 around `center`, with one width per axis, float32."""
    spot: Field = np.exp(-(((u - center[0]) / widths[0]) ** 2) - ((v - center[1]) / widths[1]) ** 2).astype(np.float32)
    return spot


def texture(rng: np.random.Generator, *, cells: int) -> Field:
    """Smooth noise of about `cells` spots per side, mean 0, deviation 1, float32 (FIELD_SIDE, FIELD_SIDE)."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    field = cv2.resize(coarse, (FIELD_SIDE, FIELD_SIDE), interpolation=cv2.INTER_CUBIC)
    normalized: Field = ((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32)
    return normalized
