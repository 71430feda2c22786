"""Draws a chest without findings as a field of densities, where 0 is air and 1 lets no X-ray through.

Coordinates run from -1 to 1: `u` to the image's right (the patient's left), `v` downward.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.phantoms.fields import FIELD_SIDE, Field, gaussian_spot, smooth_step, texture

_SIDES: Final = (-1, 1)
_RIB_PAIRS: Final = 9


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The measures of one patient, in half image widths."""

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
    """A patient in the pose of one scan."""

    anatomy: Anatomy
    #: Coordinates of each pixel in the pose, float32 (FIELD_SIDE, FIELD_SIDE).
    u: Field
    v: Field
    #: Where air is, float32 (FIELD_SIDE, FIELD_SIDE) in 0..1.
    lungs: Field
    #: Densities, float32 (FIELD_SIDE, FIELD_SIDE), about 0..1.
    density: Field


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Choose one patient's measures at random."""
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
    """Draw a patient in a random pose; a `heart_factor` above 1 enlarges the heart."""
    u, v = _pose(rng)
    lungs = _lungs(anatomy, u, v)
    body = _body(anatomy, u, v)
    density = body * (_thickness(anatomy, u, v) + 0.04 * texture(rng, cells=9)) - 0.44 * lungs
    density += body * (_ribs(anatomy, u, v) + _clavicles(u, v) + _midline(u, v))
    # Only within the lungs, because elsewhere tissue hides the heart's edge.
    heart = _heart(anatomy, u, v, heart_factor)
    density += lungs * (0.33 * heart + (1 - 0.7 * heart) * _vessels(u, v, rng))
    return Chest(anatomy=anatomy, u=u, v=v, lungs=lungs, density=density.astype(np.float32))


def _pose(rng: np.random.Generator) -> tuple[Field, Field]:
    line = np.linspace(-1, 1, FIELD_SIDE, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    angle, scale = rng.normal(0, 0.02), rng.uniform(0.95, 1.05)
    x, y = x - np.float32(rng.normal(0, 0.03)), y - np.float32(rng.normal(0, 0.03))
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return (u / scale).astype(np.float32), (v / scale).astype(np.float32)


def _lungs(anatomy: Anatomy, u: Field, v: Field) -> Field:
    return np.maximum(*(_lung(anatomy, side * u, v, left=side > 0) for side in _SIDES))


def _lung(anatomy: Anatomy, u: Field, v: Field, *, left: bool) -> Field:
    # The left dome is lower, and a lung is narrow at its apex and wide at its base.
    dome = anatomy.diaphragm + (0.05 if left else 0.0) - 0.10 * np.cos(np.clip((u - 0.38) * 4, -1.5, 1.5))
    middle = (anatomy.lung_top + anatomy.diaphragm + 0.15) / 2
    half = anatomy.diaphragm + 0.15 - middle
    width = anatomy.lung_width * (0.92 + 0.16 * (v - middle))
    centre = 0.40 + 0.05 * (v - middle)
    inside = 1 - np.abs((u - centre) / width) ** 2.4 - np.abs((v - middle) / half) ** 2.8
    return smooth_step(inside, 0.07) * smooth_step(dome - v, 0.012)


def _body(anatomy: Anatomy, u: Field, v: Field) -> Field:
    neck, shoulder = 0.24, smooth_step(v + 0.80 - 0.30 * np.maximum(np.abs(u) - 0.3, 0), 0.05)
    half = neck + (anatomy.body - neck) * shoulder
    return smooth_step(half - np.abs(u), 0.015)


def _thickness(anatomy: Anatomy, u: Field, v: Field) -> Field:
    belly = 0.10 * smooth_step(v - anatomy.diaphragm, 0.08)
    return (0.60 + anatomy.fat * smooth_step(v, 0.2) + belly - 0.14 * np.abs(u) ** 2).astype(np.float32)


def _midline(u: Field, v: Field) -> Field:
    mediastinum = 0.18 * smooth_step(0.13 + 0.05 * v - np.abs(u), 0.025)
    spine = 0.05 * gaussian_spot(u, 0 * v, (0, 0), (0.07, 1)) * (1 + 0.4 * np.sin(v * 34))
    windpipe = 0.14 * smooth_step(0.035 - np.abs(u), 0.01) * smooth_step(-0.30 - v, 0.05)
    return (mediastinum + spine - windpipe).astype(np.float32)


def _heart(anatomy: Anatomy, u: Field, v: Field, factor: float) -> Field:
    # Two thirds of the heart lie on the patient's left, where its apex points downward.
    across, along = (u - 0.09 * factor) * 0.94 + (v - 0.20) * 0.34, (v - 0.20) * 0.94 - (u - 0.09 * factor) * 0.34
    ventricles = smooth_step(1 - (across / (anatomy.heart * factor)) ** 2 - (along / 0.29) ** 2, 0.13)
    knob = 0.8 * smooth_step(1 - ((u - 0.09) / 0.085) ** 2 - ((v + 0.28) / 0.12) ** 2, 0.2)
    heart: Field = np.maximum(ventricles, knob)
    return heart


def _ribs(anatomy: Anatomy, u: Field, v: Field) -> Field:
    total = np.zeros_like(u)
    reach = np.abs(u)
    cage = smooth_step(0.80 - reach, 0.03) * smooth_step(reach - 0.10, 0.03)
    for number in range(_RIB_PAIRS):
        start = anatomy.lung_top + 0.02 + number * anatomy.rib_gap
        back = v - start - anatomy.rib_slope * reach * reach
        front = v - start - 0.26 + 0.42 * (0.80 - reach) * smooth_step(reach - 0.32, 0.01)
        total += 0.065 * _bone(back, 0.026) + 0.032 * _bone(front, 0.030) * smooth_step(reach - 0.34, 0.04)
    return (total * cage * smooth_step(0.75 - v, 0.1)).astype(np.float32)


def _bone(distance: Field, half: float) -> Field:
    # A bone is a tube, so its rims are densest.
    rim = np.exp(-(((np.abs(distance) - 0.8 * half) / (0.3 * half)) ** 2))
    return smooth_step(half - np.abs(distance), 0.004) * (0.7 + 0.5 * rim).astype(np.float32)


def _clavicles(u: Field, v: Field) -> Field:
    reach = np.abs(u)
    line = v + 0.55 + 0.24 * (reach - 0.10) + 0.025 * np.sin(reach * 8)
    return 0.11 * _bone(line, 0.030) * smooth_step(0.72 - reach, 0.02) * smooth_step(reach - 0.09, 0.02)


def _vessels(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # The ridges of smooth noise branch like vessels. They become thinner away from the hila.
    ridges = sum((np.exp(-((texture(rng, cells=cells) / 0.22) ** 2)) for cells in (14, 24, 40)), np.zeros_like(u))
    hila = gaussian_spot(np.abs(u), v, (0.20, -0.05), (0.24, 0.34))
    return (0.09 * hila + 0.05 * ridges * (0.3 + hila)).astype(np.float32)
