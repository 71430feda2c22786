"""The base model of a fit: the artifact whose encoder weights `--weights` names.

Scans that the base model was fitted or tuned on count as seen by the new model, too.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from db.errors import UserError
from db.labels.csv_file import LabelRow
from trainer.data.held_out import unseen_rows
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


def refuse_data_leak(
    base_model: Artifact, dataset: str, *, validation: Sequence[LabelRow], test: Sequence[LabelRow]
) -> None:
    """Check that the fit is not evaluated on scans that the base model has learned, which would flatter it.

    Raises:
        UserError: the base model was fitted or tuned on test scans, or fitted on validation scans, or on their
            patients.
    """
    for title, rows, used in (("test", test, ("train", "validation")), ("validation", validation, ("train",))):
        seen = len(rows) - len(unseen_rows(dataset, rows, base_model, used=used))
        if seen:
            raise UserError(
                f"--weights: {base_model.manifest.name} was fitted on {seen} of the {len(rows)} {title} scans, or on"
                " their patients; use the CSV, seed and shares that it was fitted with, or choose other weights"
            )


def add_base_model_scans(split: Iterable[SplitRow], base_model: Artifact | None) -> tuple[SplitRow, ...]:
    """A split together with the scans that the base model was fitted and tuned on, so that reports leave them out."""
    own = tuple(split)
    names = {row.image_name for row in own}
    inherited = read_split(base_model.folder) if base_model else ()
    return (*own, *(row for row in inherited if row.subset != "test" and row.image_name not in names))
