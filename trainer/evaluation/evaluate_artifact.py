"""`trainer evaluate`: an artifact's figures on the scans of any CSV."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from db.errors import UserError
from db.labels.csv_file import LabelRow, read_labels_csv
from trainer.console.progress import native_stderr_muted
from trainer.data.dataset import label_matrix, labelled_rows, read_scans
from trainer.data.held_out import unseen_rows
from trainer.data.training_data import Subset
from trainer.evaluation.evaluator import Evaluation, evaluate
from worker.artifacts.manifest import Artifact

EVALUATION_FILE: Final = "evaluation.json"


@dataclass(frozen=True, kw_only=True)
class EvaluationOf:
    """What an evaluation is of: a figure without this says nothing."""

    model: str
    #: The artifact's; None within the artifact, whose hash depends on this very file.
    model_sha256: str | None
    dataset: str
    labels_sha256: str
    #: `test`, `unseen` (all that the model was not fitted or tuned on), or `all`.
    subset: str
    #: Scans left out for which the model, or their patient, was fitted or tuned.
    seen: int
    #: Reason code to the number of labelled scans that could not be read.
    unreadable: Mapping[str, int]


def evaluation_json(of: EvaluationOf, evaluation: Evaluation) -> str:
    """The content of `evaluation.json`."""
    return json.dumps({"of": vars(of), **evaluation.as_json()}, indent=2) + "\n"


def evaluate_artifact(
    artifact: Artifact, csv: Path, images: str | None, *, cache: Path, include_seen: bool = False
) -> tuple[EvaluationOf, Evaluation]:
    """Score a CSV's labelled scans and judge them at the manifest's thresholds.

    Raises:
        UserError: the CSV or images are wrong, or the model has seen every scan.
    """
    file = read_labels_csv(csv)
    labelled = labelled_rows(file.rows)
    rows = labelled if include_seen else unseen_rows(file.dataset, labelled, artifact)
    if not rows:
        raise UserError(
            f"{csv}: {artifact.manifest.name} was fitted on every scan of it; --include-seen judges them still"
        )
    subset, unreadable = _load(artifact, csv, images, rows, cache)
    of = EvaluationOf(
        model=artifact.manifest.name,
        model_sha256=artifact.sha256,
        dataset=file.dataset,
        labels_sha256=file.sha256,
        subset="all" if include_seen else "unseen",
        seen=len(labelled) - len(rows),
        unreadable=unreadable,
    )
    return of, _judge(artifact, subset)


def _load(
    artifact: Artifact, csv: Path, images: str | None, rows: Sequence[LabelRow], cache: Path
) -> tuple[Subset, Mapping[str, int]]:
    examples = read_scans(csv, images, rows, artifact.manifest.preprocessing, cache=cache)
    labels = label_matrix(examples.rows, artifact.manifest.findings)
    return Subset(rows=examples.rows, pixels=examples.pixels, places=examples.places, labels=labels), examples.left_out


def _judge(artifact: Artifact, subset: Subset) -> Evaluation:
    with native_stderr_muted():
        from trainer.network.predict import predict
        from worker.artifacts.keras_model import load_keras_model
    manifest = artifact.manifest
    scores = predict(load_keras_model(artifact), subset.pixels, subset.places)
    return evaluate(
        subset.rows, subset.labels, scores, manifest.thresholds, findings=manifest.findings, means=subset.means
    )
