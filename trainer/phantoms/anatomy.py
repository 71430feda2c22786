"""A chest without findings, drawn as a field of densities: 0 is air, 1 is what no X-ray passes.

Coordinates run from -1 to 1: `u` to the image's right (the patient's left), `v` downward.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]

#: Drawn small and enlarged later: anatomy has no detail that 1024 pixels would show better.
SIDE: Final = 256
_SIDES: Final = (-1, 1)
_RIBS: Final = 9


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What differs from one patient to the next; lengths in half image widths."""

    body: float
    lung_width: float
    lung_top: float
    diaphragm: float
    heart: float
    rib_gap: float
    rib_slope: float
    fat: float


@dataclass(frozen=True, kw_only=True)
class Chest:
    """A patient as they stood for one scan."""

    anatomy: Anatomy
    #: Coordinates of each pixel after the patient's pose, float32 (SIDE, SIDE).
    u: Field
    v: Field
    #: Where air is, 0..1, float32 (SIDE, SIDE).
    lungs: Field
    #: Densities, float32 (SIDE, SIDE), about 0..1.
    density: Field


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient's measures at random."""
    return Anatomy(
        body=rng.uniform(0.84, 0.94),
        lung_width=rng.uniform(0.30, 0.34),
        lung_top=rng.uniform(-0.82, -0.74),
        diaphragm=rng.uniform(0.40, 0.52),
        heart=rng.uniform(0.22, 0.26),
        rib_gap=rng.uniform(0.145, 0.175),
        rib_slope=rng.uniform(0.18, 0.40),
        fat=rng.uniform(0.0, 0.12),
    )


def draw_chest(anatomy: Anatomy, rng: np.random.Generator, *, heart_factor: float = 1.0) -> Chest:
    """Draw a patient in a pose of this scan's own; `heart_factor` above 1 enlarges the heart."""
    u, v = _pose(rng)
    lungs = _lungs(anatomy, u, v)
    body = _body(anatomy, u, v)
    density = body * (_thickness(anatomy, u, v) + 0.04 * texture(rng, cells=9)) - 0.44 * lungs
    density += body * (_ribs(anatomy, u, v) + _clavicles(u, v) + _middle(u, v))
    # Within the lungs only: elsewhere the heart lies behind tissue that hides its edge.
    heart = _heart(anatomy, u, v, heart_factor)
    density += lungs * (0.33 * heart + (1 - 0.7 * heart) * _vessels(u, v, rng))
    return Chest(anatomy=anatomy, u=u, v=v, lungs=lungs, density=density.astype(np.float32))


def rise(x: Field, width: float) -> Field:
    """A soft step from 0 (x well below 0) to 1."""
    step: Field = (1 / (1 + np.exp(np.clip(-x / width, -30, 30)))).astype(np.float32)
    return step


def blob(u: Field, v: Field, at: tuple[float, float], size: tuple[float, float]) -> Field:
    """A Gaussian spot of height 1."""
    spot: Field = np.exp(-(((u - at[0]) / size[0]) ** 2) - ((v - at[1]) / size[1]) ** 2).astype(np.float32)
    return spot


def texture(rng: np.random.Generator, *, cells: int) -> Field:
    """Smooth noise of about `cells` spots a side, mean 0, deviation 1, float32 (SIDE, SIDE)."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    field = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    even: Field = ((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32)
    return even


def _pose(rng: np.random.Generator) -> tuple[Field, Field]:
    line = np.linspace(-1, 1, SIDE, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    angle, scale = rng.normal(0, 0.02), rng.uniform(0.95, 1.05)
    x, y = x - np.float32(rng.normal(0, 0.03)), y - np.float32(rng.normal(0, 0.03))
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return (u / scale).astype(np.float32), (v / scale).astype(np.float32)


def _lungs(anatomy: Anatomy, u: Field, v: Field) -> Field:
    return np.maximum(*(_lung(anatomy, side * u, v, left=side > 0) for side in _SIDES))


def _lung(anatomy: Anatomy, u: Field, v: Field, *, left: bool) -> Field:
    # The left dome stands lower, and a lung is narrow at its apex and wide at its base.
    dome = anatomy.diaphragm + (0.05 if left else 0.0) - 0.10 * np.cos(np.clip((u - 0.38) * 4, -1.5, 1.5))
    middle = (anatomy.lung_top + anatomy.diaphragm + 0.15) / 2
    half = anatomy.diaphragm + 0.15 - middle
    width = anatomy.lung_width * (0.92 + 0.16 * (v - middle))
    centre = 0.40 + 0.05 * (v - middle)
    inside = 1 - np.abs((u - centre) / width) ** 2.4 - np.abs((v - middle) / half) ** 2.8
    return rise(inside, 0.07) * rise(dome - v, 0.012)


def _body(anatomy: Anatomy, u: Field, v: Field) -> Field:
    neck, shoulder = 0.24, rise(v + 0.80 - 0.30 * np.maximum(np.abs(u) - 0.3, 0), 0.05)
    half = neck + (anatomy.body - neck) * shoulder
    return rise(half - np.abs(u), 0.015)


def _thickness(anatomy: Anatomy, u: Field, v: Field) -> Field:
    belly = 0.10 * rise(v - anatomy.diaphragm, 0.08)
    return (0.60 + anatomy.fat * rise(v, 0.2) + belly - 0.14 * np.abs(u) ** 2).astype(np.float32)


def _middle(u: Field, v: Field) -> Field:
    mediastinum = 0.18 * rise(0.13 + 0.05 * v - np.abs(u), 0.025)
    spine = 0.05 * blob(u, 0 * v, (0, 0), (0.07, 1)) * (1 + 0.4 * np.sin(v * 34))
    windpipe = 0.14 * rise(0.035 - np.abs(u), 0.01) * rise(-0.30 - v, 0.05)
    return (mediastinum + spine - windpipe).astype(np.float32)


def _heart(anatomy: Anatomy, u: Field, v: Field, factor: float) -> Field:
    # Two thirds of a heart lie on the patient's left, and its apex points down there.
    across, along = (u - 0.09 * factor) * 0.94 + (v - 0.20) * 0.34, (v - 0.20) * 0.94 - (u - 0.09 * factor) * 0.34
    ventricles = rise(1 - (across / (anatomy.heart * factor)) ** 2 - (along / 0.29) ** 2, 0.13)
    knob = 0.8 * rise(1 - ((u - 0.09) / 0.085) ** 2 - ((v + 0.28) / 0.12) ** 2, 0.2)
    both: Field = np.maximum(ventricles, knob)
    return both


def _ribs(anatomy: Anatomy, u: Field, v: Field) -> Field:
    total = np.zeros_like(u)
    reach = np.abs(u)
    cage = rise(0.80 - reach, 0.03) * rise(reach - 0.10, 0.03)
    for number in range(_RIBS):
        start = anatomy.lung_top + 0.02 + number * anatomy.rib_gap
        back = v - start - anatomy.rib_slope * reach * reach
        front = v - start - 0.26 + 0.42 * (0.80 - reach) * rise(reach - 0.32, 0.01)
        total += 0.065 * _bar(back, 0.026) + 0.032 * _bar(front, 0.030) * rise(reach - 0.34, 0.04)
    return (total * cage * rise(0.75 - v, 0.1)).astype(np.float32)


def _bar(distance: Field, half: float) -> Field:
    # A tube of bone is densest at its rims.
    rim = np.exp(-(((np.abs(distance) - 0.8 * half) / (0.3 * half)) ** 2))
    return rise(half - np.abs(distance), 0.004) * (0.7 + 0.5 * rim).astype(np.float32)


def _clavicles(u: Field, v: Field) -> Field:
    reach = np.abs(u)
    line = v + 0.55 + 0.24 * (reach - 0.10) + 0.025 * np.sin(reach * 8)
    return 0.11 * _bar(line, 0.030) * rise(0.72 - reach, 0.02) * rise(reach - 0.09, 0.02)


def _vessels(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # Ridges of smooth noise branch as vessels do; they thin out away from the hila.
    ridges = sum((np.exp(-((texture(rng, cells=cells) / 0.22) ** 2)) for cells in (14, 24, 40)), np.zeros_like(u))
    hila = blob(np.abs(u), v, (0.20, -0.05), (0.24, 0.34))
    return (0.09 * hila + 0.05 * ridges * (0.3 + hila)).astype(np.float32)
