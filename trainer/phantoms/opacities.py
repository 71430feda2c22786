"""Findings, drawn into a chest: each of a strength of its own, some too faint for anyone to see."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from trainer.phantoms.anatomy import Anatomy, Chest, Field, blob, draw_chest, rise, texture

#: How often a finding is so faint that a reader must miss it: without these a model would never err.
_FAINT_SHARE: Final = 0.18
_FAINT: Final = (0.05, 0.20)
_PLAIN: Final = (0.7, 1.2)


def draw_abnormal_chest(anatomy: Anatomy, findings: Sequence[str], rng: np.random.Generator) -> Chest:
    """Draw a patient with these findings (names of `DRAWN`); none gives a normal chest."""
    strengths = {finding: _strength(rng) for finding in findings}
    heart_factor = 1 + 0.5 * strengths.pop("Cardiomegaly", 0.0)
    chest = draw_chest(anatomy, rng, heart_factor=heart_factor)
    for finding, strength in strengths.items():
        chest.density[...] += strength * _SHAPES[finding](chest, rng)
    return chest


def _strength(rng: np.random.Generator) -> float:
    low, high = _FAINT if rng.random() < _FAINT_SHARE else _PLAIN
    return float(rng.uniform(low, high))


def _effusion(chest: Chest, rng: np.random.Generator) -> Field:
    side, level = rng.choice((-1, 1)), chest.anatomy.diaphragm - rng.uniform(0.25, 0.55)
    # Fluid climbs the chest wall: the meniscus.
    surface = level + 0.05 - 0.45 * np.maximum(side * chest.u - 0.45, 0)
    return 0.36 * chest.lungs * rise(side * chest.u, 0.02) * rise(chest.v - surface, 0.03)


def _mass(chest: Chest, rng: np.random.Generator) -> Field:
    radius = rng.uniform(0.09, 0.15)
    return 0.32 * _round(chest, _in_lung(rng), radius)


def _nodule(chest: Chest, rng: np.random.Generator) -> Field:
    spots = (_round(chest, _in_lung(rng), rng.uniform(0.04, 0.06)) for _ in range(rng.integers(2, 6)))
    together: Field = 0.30 * np.maximum.reduce(list(spots))
    return together


def _infiltration(chest: Chest, rng: np.random.Generator) -> Field:
    cloud = blob(chest.u, chest.v, _in_lung(rng), (rng.uniform(0.16, 0.26), rng.uniform(0.20, 0.32)))
    return 0.22 * chest.lungs * cloud * (1 + 0.4 * texture(rng, cells=26))


def _consolidation(chest: Chest, rng: np.random.Generator) -> Field:
    u, v = _in_lung(rng)
    wavy = 0.35 * texture(rng, cells=9)
    inside = 1 - ((chest.u - u) / 0.22) ** 2 - ((chest.v - v) / 0.20) ** 2 + wavy
    return 0.32 * chest.lungs * rise(inside.astype(np.float32), 0.20)


def _pneumothorax(chest: Chest, rng: np.random.Generator) -> Field:
    # Air outside the lung: black at the apex and the wall, no vessels, and a thin white pleural line.
    side, collapse = rng.choice((-1, 1)), rng.uniform(0.14, 0.24)
    edge = side * chest.u - (0.74 - collapse) + 0.55 * np.maximum(-0.25 - chest.v, 0)
    line = np.exp(-((edge / 0.012) ** 2)).astype(np.float32)
    change: Field = chest.lungs * rise(side * chest.u, 0.02) * (0.12 * line - 0.16 * rise(edge, 0.01))
    return change


def _round(chest: Chest, at: tuple[float, float], radius: float) -> Field:
    distance = np.hypot(chest.u - at[0], chest.v - at[1])
    return chest.lungs * rise((radius - distance).astype(np.float32), 0.016)


def _in_lung(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.choice((-1, 1)) * rng.uniform(0.30, 0.52)), float(rng.uniform(-0.50, 0.22))


_SHAPES: Final[dict[str, Callable[[Chest, np.random.Generator], Field]]] = {
    "Consolidation": _consolidation,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumothorax": _pneumothorax,
}
#: The findings that can be drawn; an enlarged heart is not a shape of its own.
DRAWN: Final = ("Cardiomegaly", *_SHAPES)
