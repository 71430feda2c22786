"""The base model of a fit: the artifact whose encoder weights `--weights` names.

Scans that the base model was fitted or tuned on count as seen by the new model, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from db.errors import UserError
from db.metrics.held_out import FITTED_SUBSETS
from trainer.data.held_out import find_seen, identity_of
from worker.artifacts.artifact import load_artifact
from worker.artifacts.manifest import MANIFEST_FILE, Artifact
from worker.artifacts.split_file import SplitRow, read_split


def find_base_model(weights: str) -> Artifact | None:
    """The artifact that a file of weights belongs to; None for `none`, `imagenet` and other files.

    Raises:
        UserError: the artifact is damaged.
    """
    folder = Path(weights).parent
    return load_artifact(folder) if weights.endswith(".keras") and (folder / MANIFEST_FILE).is_file() else None


def refuse_data_leak(base_model: Artifact, dataset: str, split: Sequence[SplitRow]) -> None:
    """Check that the fit is not evaluated on scans that the base model has learned, which would flatter it.

    Args:
        base_model: the artifact whose weights the fit begins with.
        dataset: of the split's rows that name none.
        split: the fit's.

    Raises:
        UserError: the base model was fitted or tuned on test scans, or fitted on validation scans, or on their
            patients.
    """
    scans = [identity_of(row, dataset) for row in split]
    for subset, used in (("test", FITTED_SUBSETS), ("validation", ("train",))):
        found = find_seen(scans, base_model, used=used)
        in_subset = np.array([row.subset == subset for row in split], np.bool_)
        seen = (found.itself | found.patient)[in_subset]
        if seen.any():
            raise UserError(
                f"--weights: {base_model.manifest.name} was fitted on {seen.sum()} of the {len(seen)} {subset} scans,"
                " or on their patients; use the CSV, seed and shares that it was fitted with, or choose other weights"
            )


def add_base_model_scans(split: Iterable[SplitRow], base_model: Artifact | None) -> tuple[SplitRow, ...]:
    """A split together with the scans that the base model was fitted and tuned on, so that reports leave them out.

    These keep their own dataset: a patient of the same number in the new model's dataset is another patient.
    """
    own = tuple(split)
    if base_model is None:
        return own
    names = {(row.dataset, row.image_name) for row in own}
    fitted = (row for row in read_split(base_model.folder) if row.subset in FITTED_SUBSETS)
    inherited = (replace(row, dataset=row.dataset or base_model.manifest.dataset) for row in fitted)
    return (*own, *(row for row in inherited if (row.dataset, row.image_name) not in names))
