"""Turns densities into a film: enlargement, exposure, quantum noise and the technician's markers."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantoms.fields import Field

#: Height and width in pixels of NIH's published images.
FILM_SIDE: Final = 1024
_PORTABLE_SHARE: Final = 0.3


def expose(density: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Expose a film: uint8 (FILM_SIDE, FILM_SIDE), where 0 is black and 255 white.

    Gain, gamma and offset are random for each film, so that its brightness says nothing about its findings.
    """
    large = cv2.resize(density, (FILM_SIDE, FILM_SIDE), interpolation=cv2.INTER_CUBIC)
    gamma, gain, offset = rng.uniform(0.75, 1.35), rng.uniform(0.78, 1.12), rng.uniform(-8, 24)
    light = cv2.pow(np.clip(large, 0, 1), gamma) * np.float32(245 * gain) + np.float32(offset)
    film = light + _noise(rng, deviation=rng.uniform(1.2, 2.4))
    return _add_markers(np.clip(film, 0, 255).astype(np.uint8), rng)


def encode_png(film: NDArray[np.uint8]) -> bytes:
    """An 8-bit gray PNG, at a low compression level because noise hardly compresses.

    Raises:
        RuntimeError: cv2 cannot encode it.
    """
    succeeded, encoded = cv2.imencode(".png", film, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not succeeded:
        raise RuntimeError("cv2 could not encode the film as a PNG")
    return encoded.tobytes()


def _noise(rng: np.random.Generator, *, deviation: float) -> Field:
    return rng.standard_normal((FILM_SIDE, FILM_SIDE), dtype=np.float32) * np.float32(deviation)


def _add_markers(film: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    corner = (int(rng.integers(900, 950)), int(rng.integers(70, 130)))
    cv2.putText(film, "L", corner, cv2.FONT_HERSHEY_SIMPLEX, 1.6, 235, 5, cv2.LINE_AA)
    if rng.random() < _PORTABLE_SHARE:
        cv2.putText(film, "PORTABLE", (60, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 225, 2, cv2.LINE_AA)
    return film
