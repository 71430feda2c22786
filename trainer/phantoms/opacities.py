"""Draws findings into a chest, each with a random strength; some are too faint to be seen."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from trainer.phantoms.anatomy import Anatomy, Chest, draw_chest
from trainer.phantoms.fields import Field, gaussian_spot, smooth_step, texture

#: Share of findings that are too faint for any reader; without them a model would make no errors.
_FAINT_SHARE: Final = 0.18
_FAINT_STRENGTHS: Final = (0.05, 0.20)
_CLEAR_STRENGTHS: Final = (0.7, 1.2)


def draw_abnormal_chest(anatomy: Anatomy, findings: Sequence[str], rng: np.random.Generator) -> Chest:
    """Draw a patient with these findings, which are in `DRAWABLE_FINDINGS`; no findings give a normal chest."""
    strengths = {finding: _strength(rng) for finding in findings}
    heart_factor = 1 + 0.5 * strengths.pop("Cardiomegaly", 0.0)
    chest = draw_chest(anatomy, rng, heart_factor=heart_factor)
    for finding, strength in strengths.items():
        chest.density[...] += strength * _DRAW_FINDING[finding](chest, rng)
    return chest


def _strength(rng: np.random.Generator) -> float:
    low, high = _FAINT_STRENGTHS if rng.random() < _FAINT_SHARE else _CLEAR_STRENGTHS
    return float(rng.uniform(low, high))


def _effusion(chest: Chest, rng: np.random.Generator) -> Field:
    side, level = rng.choice((-1, 1)), chest.anatomy.diaphragm - rng.uniform(0.25, 0.55)
    # Fluid rises along the chest wall and forms a meniscus.
    surface = level + 0.05 - 0.45 * np.maximum(side * chest.u - 0.45, 0)
    return 0.36 * chest.lungs * smooth_step(side * chest.u, 0.02) * smooth_step(chest.v - surface, 0.03)


def _mass(chest: Chest, rng: np.random.Generator) -> Field:
    radius = rng.uniform(0.09, 0.15)
    return 0.32 * _disc(chest, _point_in_lung(rng), radius)


def _nodule(chest: Chest, rng: np.random.Generator) -> Field:
    spots = (_disc(chest, _point_in_lung(rng), rng.uniform(0.04, 0.06)) for _ in range(rng.integers(2, 6)))
    nodules: Field = 0.30 * np.maximum.reduce(list(spots))
    return nodules


def _infiltration(chest: Chest, rng: np.random.Generator) -> Field:
    cloud = gaussian_spot(chest.u, chest.v, _point_in_lung(rng), (rng.uniform(0.16, 0.26), rng.uniform(0.20, 0.32)))
    return 0.22 * chest.lungs * cloud * (1 + 0.4 * texture(rng, cells=26))


def _consolidation(chest: Chest, rng: np.random.Generator) -> Field:
    u, v = _point_in_lung(rng)
    wavy = 0.35 * texture(rng, cells=9)
    inside = 1 - ((chest.u - u) / 0.22) ** 2 - ((chest.v - v) / 0.20) ** 2 + wavy
    return 0.32 * chest.lungs * smooth_step(inside.astype(np.float32), 0.20)


def _pneumothorax(chest: Chest, rng: np.random.Generator) -> Field:
    # Air outside the lung is black at the apex and the wall, without vessels, behind a thin white pleural line.
    side, collapse = rng.choice((-1, 1)), rng.uniform(0.14, 0.24)
    edge = side * chest.u - (0.74 - collapse) + 0.55 * np.maximum(-0.25 - chest.v, 0)
    line = np.exp(-((edge / 0.012) ** 2)).astype(np.float32)
    change: Field = chest.lungs * smooth_step(side * chest.u, 0.02) * (0.12 * line - 0.16 * smooth_step(edge, 0.01))
    return change


def _disc(chest: Chest, center: tuple[float, float], radius: float) -> Field:
    distance = np.hypot(chest.u - center[0], chest.v - center[1])
    return chest.lungs * smooth_step((radius - distance).astype(np.float32), 0.016)


def _point_in_lung(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.choice((-1, 1)) * rng.uniform(0.30, 0.52)), float(rng.uniform(-0.50, 0.22))


_DRAW_FINDING: Final[dict[str, Callable[[Chest, np.random.Generator], Field]]] = {
    "Consolidation": _consolidation,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumothorax": _pneumothorax,
}
#: The findings that can be drawn. Cardiomegaly has no shape, because it enlarges the heart.
DRAWABLE_FINDINGS: Final = ("Cardiomegaly", *_DRAW_FINDING)
