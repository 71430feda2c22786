"""The artifact whose encoder a fit begins from, where `--weights` names one. What it has seen, its heir has seen."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from db.errors import UserError
from db.labels.csv_file import LabelRow
from trainer.data.held_out import unseen_rows
from worker.artifacts.artifact import load_artifact
from worker.artifacts.manifest import MANIFEST_FILE, Artifact
from worker.artifacts.split_file import SplitRow, read_split


def donor_of(weights: str) -> Artifact | None:
    """The artifact that a file of weights belongs to; None for `none`, `imagenet` and other files.

    Raises:
        UserError: it is damaged.
    """
    folder = Path(weights).parent
    return load_artifact(folder) if weights.endswith(".keras") and (folder / MANIFEST_FILE).is_file() else None


def refuse_leak(donor: Artifact, dataset: str, *, validation: Sequence[LabelRow], test: Sequence[LabelRow]) -> None:
    """Figures on scans that the donor was fitted on would flatter its heir.

    Raises:
        UserError: the donor was fitted or tuned on a test scan, or fitted on a validation scan, or on their patients.
    """
    for title, rows, used in (("test", test, ("train", "validation")), ("validation", validation, ("train",))):
        seen = len(rows) - len(unseen_rows(dataset, rows, donor, used=used))
        if seen:
            raise UserError(
                f"--weights: {donor.manifest.name} was fitted on {seen} of the {len(rows)} {title} scans, or on their"
                " patients; take the CSV, seed and shares that it was fitted with, or other weights"
            )


def with_donors_scans(split: Iterable[SplitRow], donor: Artifact | None) -> tuple[SplitRow, ...]:
    """A split with what the donor was fitted and tuned on: it is left out of the heir's figures too."""
    own = tuple(split)
    known = {row.image_name for row in own}
    used = read_split(donor.folder) if donor else ()
    return (*own, *(row for row in used if row.subset != "test" and row.image_name not in known))
