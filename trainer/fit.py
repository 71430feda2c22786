"""`trainer fit`: from a labels CSV to a published artifact."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db.labels_csv import read_labels_csv
from trainer.dataset import Examples, label_matrix, learnable_findings, load_examples
from trainer.progress import say, stage
from trainer.publish import refuse_taken_name, write_artifact
from trainer.split import split_by_patient
from worker.artifact import Artifact, SplitRow
from worker.images import find_images
from worker.manifest import Manifest, Preprocessing

if TYPE_CHECKING:
    from trainer.loop import Epoch, LoopOptions, Subset


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a person can choose about a fit."""

    csv: Path
    #: A folder or `s3://bucket/prefix`; None looks beside the CSV.
    images: str | None = None
    name: str
    encoder: str = "densenet121"
    size: int = 64
    epochs: int = 12
    batch_size: int = 16
    learning_rate: float = 1e-3
    validation_share: float = 0.15
    test_share: float = 0.25
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit came to."""

    artifact: Artifact
    #: Of `Abnormal` in the best epoch; NaN where the validation subset has one class only.
    validation_auroc: float


def fit(options: FitOptions, *, model_dir: Path) -> Fitted:
    """Fit a model on the CSV's patients and publish it.

    Raises:
        UserError: the name is taken, the CSV is wrong, images are missing, or patients are too few.
    """
    refuse_taken_name(options.name, model_dir)
    labels = read_labels_csv(options.csv)
    rule = Preprocessing(height=options.size, width=options.size)
    examples = _load(options, labels.rows, rule)
    split = split_by_patient(
        examples.rows,
        validation_share=options.validation_share,
        test_share=options.test_share,
        seed=options.seed,
    )
    findings = learnable_findings([row for row, use in zip(examples.rows, split, strict=True) if use.subset == "train"])
    model, epochs = _train(options, rule, findings, examples, split)
    best = max((epoch.validation_auroc for epoch in epochs), default=float("nan"))
    manifest = Manifest(
        name=options.name,
        encoder=options.encoder,
        findings=findings,
        preprocessing=rule,
        dataset=labels.dataset,
        about=_about(options, model, split, best) | {"csv_sha256": labels.sha256},
    )
    history = [asdict(epoch) for epoch in epochs]
    artifact = write_artifact(model, manifest, split=split, model_dir=model_dir, history=history)
    return Fitted(artifact=artifact, validation_auroc=best)
