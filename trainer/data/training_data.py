"""What a fit works on: labelled scans, what each is used for, and which findings are learned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.labels.csv_file import LabelRow, LabelsFile, read_labels_csv
from trainer.console.progress import say
from trainer.data.dataset import label_matrix, labelled_rows, learnable_findings, read_scans
from trainer.data.split import shared_patients, split_by_image, split_by_lists, split_by_patient
from trainer.recipe import Recipe
from worker.artifacts.split_file import SUBSETS, SplitRow
from worker.images.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where scans and labels are."""

    csv: Path
    #: A folder or `s3://bucket/prefix`; None looks beside the CSV.
    images: str | None = None
    #: NIH's official lists of image names; both or neither.
    train_list: Path | None = None
    test_list: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Scans of one use; the first finding leads."""

    rows: tuple[LabelRow, ...]
    #: uint8 (M, H, W, C), of all subsets.
    pixels: Pixels
    #: (N,) where in `pixels` this subset's scans lie.
    places: NDArray[np.int64]
    #: float32 (N, findings).
    labels: NDArray[np.float32]

    @property
    def means(self) -> NDArray[np.float64]:
        """Each scan's mean pixel, float64 (N,) in 0..255."""
        return np.array([self.pixels[place].mean(dtype=np.float64) for place in self.places])


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """All subsets."""

    file: LabelsFile
    findings: tuple[str, ...]
    #: One row for each scan that is used, readable.
    split: tuple[SplitRow, ...]
    subsets: Mapping[str, Subset]
    #: Reason code to the number of labelled scans that could not be read.
    left_out: Mapping[str, int]


def load_training_data(source: Source, recipe: Recipe, *, cache: Path) -> TrainingData:
    """Read labels, deal scans to subsets, decode what the cache lacks, and say what came of it.

    Raises:
        UserError: the CSV is wrong, images are missing, patients too few, or one would be in two subsets.
    """
    file = read_labels_csv(source.csv)
    split = {used.image_name: used for used in _split(source, recipe, labelled_rows(file.rows))}
    rows = [row for row in file.rows if row.image_name in split]
    examples = read_scans(source.csv, source.images, rows, recipe.preprocessing, cache=cache)
    used = [split[row.image_name] for row in examples.rows]
    fitted = [row for row, use in zip(examples.rows, used, strict=True) if use.subset == "train"]
    findings = learnable_findings(fitted, recipe.targets)
    subsets = {}
    for wanted in SUBSETS:
        chosen = [at for at, use in enumerate(used) if use.subset == wanted]
        own = tuple(examples.rows[at] for at in chosen)
        subsets[wanted] = Subset(
            rows=own, pixels=examples.pixels, places=examples.places[chosen], labels=label_matrix(own, findings)
        )
    _tell(used, recipe)
    return TrainingData(file=file, findings=findings, split=tuple(used), subsets=subsets, left_out=examples.left_out)


def _split(source: Source, recipe: Recipe, rows: Sequence[LabelRow]) -> Sequence[SplitRow]:
    if (source.train_list is None) != (source.test_list is None):
        raise UserError("--train-list and --test-list go together")
    if source.train_list and source.test_list:
        return split_by_lists(
            rows,
            train_list=source.train_list,
            test_list=source.test_list,
            validation_share=recipe.validation_share,
            seed=recipe.seed,
        )
    deal = split_by_patient if recipe.split == "patient" else split_by_image
    return deal(rows, validation_share=recipe.validation_share, test_share=recipe.test_share, seed=recipe.seed)


def _tell(used: Sequence[SplitRow], recipe: Recipe) -> None:
    scans = Counter(use.subset for use in used)
    patients = Counter(subset for _, subset in {(use.patient_id, use.subset) for use in used})
    parts = ", ".join(f"{subset} {scans[subset]} of {patients[subset]}" for subset in SUBSETS if scans[subset])
    shared = shared_patients(used)
    say(f"scans of patients: {parts}; patients in two subsets: {shared}")
    if recipe.split == "patient" and shared:
        raise UserError(f"{shared} patients have scans in more than one of the lists: test figures would flatter")
