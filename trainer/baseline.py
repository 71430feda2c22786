"""What a reader without eyes would reach: the AUROC of a scan's mean pixel value.

A data set where this is far from 0.5 lets a model succeed by exposure alone, and its figures say little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db.errors import UserError
from db.findings import ABNORMAL
from db.labels_csv import LabelRow, read_labels_csv
from db.metrics import auroc
from db.scans import FoundImage
from trainer.dataset import label_matrix, load_examples
from worker.artifact import Artifact, list_artifacts, read_split
from worker.images import find_images
from worker.manifest import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The figure and what it is a figure of."""

    #: Of `Abnormal`; below 0.5 the darker scans are abnormal; None where the test subset has one class only.
    auroc: float | None
    #: Scans of the test subset that were read.
    scans: int


def mean_pixel_auroc(rows: Sequence[LabelRow], found: Mapping[str, FoundImage], rule: Preprocessing) -> Baseline:
    """The AUROC, for `Abnormal`, of the mean pixel value of preprocessed scans."""
    examples = load_examples(rows, found, rule)
    abnormal = label_matrix(examples.rows, (ABNORMAL,))[:, 0] > 0
    means = examples.pixels.mean(axis=(1, 2, 3), dtype=np.float64)
    return Baseline(auroc=auroc(abnormal, means), scans=len(abnormal))


def baseline_of_artifact(csv: Path, images: str | None, artifact: Artifact) -> Baseline:
    """`mean_pixel_auroc` over the scans of a CSV that are an artifact's test subset.

    Raises:
        UserError: none of the CSV's scans is in it, or too many cannot be read.
    """
    held_out = {row.image_name for row in read_split(artifact.folder) if row.subset == "test"}
    rows = [row for row in read_labels_csv(csv).rows if row.image_name in held_out]
    if not rows:
        raise UserError(f"{csv}: none of its scans is in the test subset of {artifact.manifest.name}")
    found = find_images(csv, images, {row.image_name for row in rows}).images
    return mean_pixel_auroc(rows, found, artifact.manifest.preprocessing)


def artifact_named(wanted: str, model_dir: Path) -> Artifact:
    """The artifact with this name, or this hash (whole, or its first 12 characters).

    Raises:
        UserError: there is none, or more than one.
    """
    known = list_artifacts(model_dir)
    found = [one for one in known if wanted in (one.manifest.name, one.sha256, one.folder.name)]
    if len(found) != 1:
        names = ", ".join(f"{one.manifest.name} ({one.sha256[:12]})" for one in known) or "no artifact"
        raise UserError(f"--model {wanted!r} fits {len(found)} artifacts; {model_dir} holds {names}")
    return found[0]
