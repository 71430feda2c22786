"""`trainer evaluate`: evaluates an artifact on the scans of any CSV."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from db.errors import UserError
from db.evaluation.evaluate import Evaluation
from db.labels.csv_file import LabelRow, LabelsFile
from db.metrics.held_out import FITTED_SUBSETS
from db.metrics.known_patients import KnownPatients, count_known_patients
from trainer.data.dataset import Examples, read_scans
from trainer.data.held_out import unseen_rows
from trainer.data.labels import label_matrix, labelled_rows
from trainer.data.training_data import Source, Subset
from trainer.evaluation.evaluator import evaluate_scores, make_cohort
from worker.artifacts.manifest import Artifact, Manifest
from worker.artifacts.split_file import read_split
from worker.processes import native_stderr_muted

EVALUATION_FILE: Final = "evaluation.json"
#: The version of `evaluation.json`. In version 1 the figures were other ones, under other names.
_FORMAT: Final = 2


@dataclass(frozen=True, kw_only=True)
class EvaluationContext:
    """What an evaluation is of: model, data set and subset. The fields are keys of `of` in `evaluation.json`."""

    model: str
    model_sha256: str
    dataset: str
    labels_sha256: str
    #: `test`; `unseen` (all scans that the model was not fitted or tuned on); `unlisted` (all that its split does not
    #: list as such, if nobody knows which other scans it was fitted on); or `all`.
    subset: str
    #: Number of scans left out because the model was fitted or tuned on them or on their patients.
    seen: int
    #: What to say if held out cannot be told for every scan, and seen scans are left out, or not all known; else None.
    held_out_note: str | None
    #: Reason code to the number of labelled scans that could not be read.
    unreadable: Mapping[str, int]


def known_patients(rows: Iterable[LabelRow], artifact: Artifact) -> KnownPatients:
    """How many of the evaluated rows, and of the scans that the model was fitted or tuned on, have a patient id."""
    return count_known_patients(
        (row.patient_id for row in rows),
        (row.patient_id for row in read_split(artifact.folder) if row.subset in FITTED_SUBSETS),
        fitted_scans_unknown=artifact.manifest.fitted_scans_unknown,
    )


def evaluation_json(context: EvaluationContext, evaluation: Evaluation) -> str:
    """The content of `evaluation.json`; its `evaluation` has the keys and figures of that in a run's `report.json`."""
    content = {"format": _FORMAT, "of": vars(context), "evaluation": asdict(evaluation)}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def evaluate_artifact(
    artifact: Artifact, source: Source, *, cache: Path, include_seen: bool = False
) -> tuple[EvaluationContext, Evaluation]:
    """Score a CSV's labelled scans and evaluate the scores, also at the manifest's thresholds.

    Args:
        artifact: the model.
        source: a labels CSV and its images.
        cache: the folder of pixel caches.
        include_seen: whether to keep scans that the model was fitted or tuned on, and those of the same patients.

    Raises:
        UserError: the CSV or images are wrong, or the model has seen every scan.
    """
    scans = source.find_scans()
    file = scans.file
    labelled = labelled_rows(file.rows)
    read = partial(read_scans, found=scans.found, rule=artifact.manifest.preprocessing, cache=cache)
    examples = read(labelled) if include_seen else _read_unseen(artifact, file, read)
    unreadable = sum(examples.unreadable.values())
    known = known_patients(examples.rows, artifact)
    context = EvaluationContext(
        model=artifact.manifest.name,
        model_sha256=artifact.sha256,
        dataset=file.dataset,
        labels_sha256=file.sha256,
        subset="all" if include_seen else "unlisted" if known.fitted_scans_unknown else "unseen",
        seen=len(labelled) - len(examples.rows) - unreadable,
        held_out_note=known.note if known.fitted_scans_unknown or not include_seen else None,
        unreadable=examples.unreadable,
    )
    labels = label_matrix(examples.rows, artifact.manifest.findings, covered=file.covered)
    subset = Subset(
        rows=examples.rows,
        pixels=examples.pixels,
        indices=examples.indices,
        labels=labels,
        manufacturers=scans.manufacturers,
    )
    with native_stderr_muted():
        from worker.artifacts.keras_model import load_keras_model
    return context, score_and_evaluate(load_keras_model(artifact), artifact.manifest, subset)


def score_and_evaluate(model: Any, manifest: Manifest, subset: Subset) -> Evaluation:
    """Score a subset's scans with a `keras.Model` and evaluate the scores, also at the manifest's thresholds."""
    from trainer.network.predict import predict

    scores = predict(model, subset.pixels, subset.indices)
    cohort = make_cohort(
        subset.rows, subset.labels, scores, findings=manifest.findings, manufacturers=subset.manufacturers
    )
    return evaluate_scores(cohort, manifest.thresholds, subset.mean_pixels)


def _read_unseen(artifact: Artifact, file: LabelsFile, read: Callable[[Sequence[LabelRow]], Examples]) -> Examples:
    """Read the labelled scans that are unseen by name and patient, and keep those that are unseen by their bytes."""
    # Unlabelled rows are asked about too, because they can lead to patients.
    by_name = [row for row in unseen_rows(file.dataset, file.rows, artifact) if row.is_labelled]
    _check_any_unseen(file, artifact, by_name)
    examples = read(by_name)
    unseen = unseen_rows(file.dataset, examples.rows, artifact, contents=examples.content_by_name)
    _check_any_unseen(file, artifact, unseen)
    return examples.select(unseen)


def _check_any_unseen(file: LabelsFile, artifact: Artifact, unseen: Sequence[LabelRow]) -> None:
    if not unseen:
        raise UserError(
            f"{file.path}: {artifact.manifest.name} was fitted or tuned on every scan or its patient; choose another"
            " CSV, or evaluate on them with --include-seen"
        )
