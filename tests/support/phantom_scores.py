"""Phantoms as a model scores them at several gains of the detector, from which nights are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db.drift.scans import SCORED, DecidedScans, Names
from db.evaluation.cohort import AGE, MANUFACTURER, SEX, UNKNOWN, VIEW, Grouping, Numbers, age_band, group_by
from trainer.phantoms.film import draw_film
from trainer.phantoms.plan import Phantom, plan_phantoms
from worker.artifacts.artifact import load_artifact
from worker.images.pixels import preprocess
from worker.images.preprocessing import Preprocessing
from worker.scoring.open_scorer import open_scorer
from worker.scoring.scorer import score_all


@dataclass(frozen=True, kw_only=True)
class Pool:
    """N scans, each scored at G gains."""

    findings: tuple[str, ...]
    gains: tuple[float, ...]
    #: (N,)
    patients: Numbers
    #: (G, N, F)
    scores: NDArray[np.float64]
    #: By kind.
    groups: dict[str, Grouping]

    def night(self, rng: np.random.Generator, *, scans: int, gain: int, run_id: int) -> DecidedScans:
        """Draw patients until they have this number of scans, at one of the gains."""
        order = rng.permutation(np.unique(self.patients))
        enough = np.searchsorted(np.cumsum(np.bincount(self.patients)[order]), scans)
        return self._scans(np.isin(self.patients, order[: enough + 1]), gain, run_id)

    def all_scans(self, run_id: int) -> DecidedScans:
        """Every scan at the first gain."""
        return self._scans(np.ones(len(self.patients), np.bool_), 0, run_id)

    def _scans(self, mask: NDArray[np.bool_], gain: int, run_id: int) -> DecidedScans:
        rows = np.flatnonzero(mask)
        groups = {kind: Names(names=of.names, places=of.places[rows]) for kind, of in self.groups.items()}
        return DecidedScans(
            findings=self.findings,
            runs=np.full(len(rows), run_id),
            patients=self.patients[rows],
            scores=self.scores[gain, rows],
            outcomes=Names(names=(SCORED,), places=np.zeros(len(rows), np.int64)),
            groups=groups,
        )


def draw_pool(model: Path, *, patients: int, gains: Sequence[float], seed: int) -> Pool:
    """Draw the phantoms of this number of patients, and score them at each gain of the detector by a model's folder."""
    artifact = load_artifact(model)
    plan = plan_phantoms(patients=patients, seed=seed)
    rule = artifact.manifest.preprocessing
    pixels = np.stack([_at_gains(phantom, gains, rule, seed) for phantom in plan], axis=1)
    scorer = open_scorer(artifact, "keras", "float32")
    return Pool(
        findings=scorer.findings,
        gains=tuple(gains),
        patients=np.array([phantom.patient for phantom in plan]),
        scores=np.stack([score_all(scorer, of_gain).astype(np.float64) for of_gain in pixels]),
        groups={
            VIEW: group_by([phantom.view for phantom in plan]),
            SEX: group_by([phantom.sex for phantom in plan]),
            AGE: group_by([age_band(phantom.age) for phantom in plan]),
            MANUFACTURER: group_by([UNKNOWN] * len(plan)),
        },
    )


def _at_gains(phantom: Phantom, gains: Sequence[float], rule: Preprocessing, seed: int) -> NDArray[np.uint8]:
    """(G, height, width, channels) the film's pixels, of which none is brighter than 255."""
    film = draw_film(phantom, seed=seed)
    brighter = (np.clip(np.rint(film * gain), 0, 255).astype(np.uint8) for gain in gains)
    return np.stack([preprocess(image, rule) for image in brighter])
