"""Draws one film of a plan."""

import numpy as np
from numpy.typing import NDArray

from trainer.phantoms.anatomy import draw_anatomy
from trainer.phantoms.exposure import expose
from trainer.phantoms.opacities import draw_abnormal_chest
from trainer.phantoms.plan import PATIENT_STREAM, SCAN_STREAM, Phantom


def draw_film(phantom: Phantom, *, seed: int) -> NDArray[np.uint8]:
    """Draw one scan, uint8 (1024, 1024); the same arguments give the same pixels."""
    anatomy = draw_anatomy(np.random.default_rng([seed, PATIENT_STREAM, phantom.patient]))
    rng = np.random.default_rng([seed, SCAN_STREAM, phantom.patient, phantom.follow_up])
    return expose(draw_abnormal_chest(anatomy, phantom.findings, rng).density, rng)
