"""`trainer evaluate`: an artifact's figures on the scans of any CSV."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from db.errors import UserError
from db.labels.csv_file import LabelRow, read_labels_csv
from trainer.dataset import label_matrix, labelled_rows, read_scans
from trainer.evaluation import Evaluation, evaluate
from trainer.material import Subset
from trainer.progress import native_stderr_muted
from worker.artifacts.manifest import Artifact
from worker.artifacts.split_file import read_split

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


def unseen_rows(
    dataset: str, rows: Sequence[LabelRow], artifact: Artifact, *, used: Container[str] = ("train", "validation")
) -> list[LabelRow]:
    """Those whose scan and patient the model has not used in these ways, by the rule of `db.metrics.held_out`."""
    seen = [one for one in read_split(artifact.folder) if one.subset in used]
    patients = {one.patient_id for one in seen} if dataset == artifact.manifest.dataset else set()
    itself = set(used_rows(rows, artifact, used=used))
    patients |= {row.patient_id for row in itself}
    patients.discard(None)
    return [row for row in rows if row not in itself and row.patient_id not in patients]


def used_rows(rows: Sequence[LabelRow], artifact: Artifact, *, used: Container[str]) -> list[LabelRow]:
    """Those that the model itself has used in these ways: of the same name, and of no other patient."""
    names = {one.image_name: one.patient_id for one in read_split(artifact.folder) if one.subset in used}

    def itself(row: LabelRow) -> bool:
        fitted = names.get(row.image_name)
        return row.image_name in names and (None in {fitted, row.patient_id} or fitted == row.patient_id)

    return [row for row in rows if itself(row)]


def _load(
    artifact: Artifact, csv: Path, images: str | None, rows: Sequence[LabelRow], cache: Path
) -> tuple[Subset, Mapping[str, int]]:
    examples = read_scans(csv, images, rows, artifact.manifest.preprocessing, cache=cache)
    labels = label_matrix(examples.rows, artifact.manifest.findings)
    return Subset(rows=examples.rows, pixels=examples.pixels, places=examples.places, labels=labels), examples.left_out


def _judge(artifact: Artifact, subset: Subset) -> Evaluation:
    with native_stderr_muted():
        from trainer.loop import predict
        from worker.artifacts.keras_model import load_network
    manifest = artifact.manifest
    scores = predict(load_network(artifact), subset.pixels, subset.places)
    return evaluate(
        subset.rows, subset.labels, scores, manifest.thresholds, findings=manifest.findings, means=subset.means
    )
