"""Makes what belongs to a published model and decides no score: export, evaluation, curves, card, contact sheet.

Every part is made from the artifact and the data alone, and lies outside the artifact's identity. So a part that fails
costs neither the model nor another part, and a later command can make it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from db.errors import UserError
from db.evaluation.evaluate import Evaluation
from trainer.data.training_data import TrainingData
from trainer.evaluation.contact_sheet import draw_contact_sheet
from trainer.evaluation.evaluate_artifact import (
    EVALUATION_FILE,
    EvaluationContext,
    evaluation_json,
    known_patients,
    score_and_evaluate,
)
from trainer.evaluation.model_card import MODEL_CARD_FILE, render_model_card
from trainer.fitting.curves import CURVES_FILE, draw_curves
from trainer.fitting.history import Epoch, read_history
from trainer.fitting.tensorboard import write_log
from trainer.publishing.export import export_for_workers
from trainer.publishing.publish import HISTORY_FILE, add_file, staging_folder
from worker.artifacts.exports import EXPORTS_FILE, write_exports
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore
from worker.files import write_file
from worker.processes import native_stderr_muted


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is made besides the files that every published model has."""

    #: The PNG of the scans where model and label disagree most. It is not published.
    contact_sheet: Path
    #: Folder for TensorBoard's log of all epochs; None writes none.
    tensorboard: Path | None
    #: Whether an OpenVINO export is published.
    export: bool


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The results of a fit."""

    artifact: Artifact
    #: The published model's, on the test subset; None if it failed.
    evaluation: Evaluation | None
    #: A PNG of the validation scans where model and label disagree most; None without a validation subset.
    contact_sheet: Path | None
    #: What could not be made, each with its cause. The model is usable without it.
    missing: tuple[str, ...]


def finish(artifact: Artifact, data: TrainingData, models: ModelStore, wanted: Wanted) -> Fitted:
    """Make what the artifact lacks. A part that fails is named in `Fitted.missing`."""
    return _Finish(artifact, data, models, wanted).run()


class _Finish:
    def __init__(self, artifact: Artifact, data: TrainingData, models: ModelStore, wanted: Wanted) -> None:
        self._artifact, self._data, self._models, self._wanted = artifact, data, models, wanted
        self._missing: list[str] = []

    def run(self) -> Fitted:
        evaluation, contact_sheet = None, None
        # First, because workers on CPUs score faster with it.
        with self._part("the OpenVINO export"):
            if self._wanted.export and not self._has(EXPORTS_FILE):
                self._export()
        with self._part(EVALUATION_FILE):
            evaluation = score_and_evaluate(self._model, self._artifact.manifest, self._data.subsets["test"])
            self._add(EVALUATION_FILE, partial(evaluation_json, self._context, evaluation))
        with self._part(MODEL_CARD_FILE):
            self._add(MODEL_CARD_FILE, partial(self._render_card, evaluation))
        with self._part(CURVES_FILE):
            self._add(CURVES_FILE, lambda: draw_curves(self._history))
        with self._part("the TensorBoard log"):
            if self._wanted.tensorboard:
                write_log(self._wanted.tensorboard, self._history)
        with self._part("the contact sheet"):
            contact_sheet = self._draw_contact_sheet()
        missing = tuple(self._missing)
        return Fitted(artifact=self._artifact, evaluation=evaluation, contact_sheet=contact_sheet, missing=missing)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- whatever fails here must not cost the model or another part
            self._missing.append(f"{name} ({_cause(error)})")

    def _has(self, name: str) -> bool:
        return (self._artifact.folder / name).exists()

    def _add(self, name: str, make: Callable[[], str | bytes]) -> None:
        if not self._has(name):
            content = make()
            encoded = content.encode() if isinstance(content, str) else content
            add_file(self._artifact, name, encoded, self._models)

    @cached_property
    def _model(self) -> Any:
        with native_stderr_muted():
            from worker.artifacts.keras_model import load_keras_model
        return load_keras_model(self._artifact)

    @property
    def _history(self) -> list[Epoch]:
        return read_history(self._artifact.folder / HISTORY_FILE)

    @cached_property
    def _held_out_note(self) -> str | None:
        return known_patients(self._data.subsets["test"].rows, self._artifact).note

    @property
    def _context(self) -> EvaluationContext:
        return EvaluationContext(
            model=self._artifact.manifest.name,
            model_sha256=self._artifact.sha256,
            dataset=self._data.labels_file.dataset,
            labels_sha256=self._data.labels_file.sha256,
            subset="test",
            seen=len(self._data.split) - len(self._data.subsets["test"].rows),
            held_out_note=self._held_out_note,
            unreadable=self._data.unreadable,
        )

    def _render_card(self, evaluation: Evaluation | None) -> str:
        if evaluation is None:
            raise UserError("it shows the evaluation")
        return render_model_card(self._artifact.manifest, evaluation, self._held_out_note)

    def _export(self) -> None:
        test, batch_size = self._data.subsets["test"], self._artifact.manifest.batch_size
        with staging_folder() as staging:
            formats = export_for_workers(
                self._model, staging, pixels=test.pixels, indices=test.indices, batch_size=batch_size
            )
            if formats:
                write_exports(staging, self._artifact.sha256, formats)
                self._models.add(self._artifact, staging, last=EXPORTS_FILE)

    def _draw_contact_sheet(self) -> Path | None:
        from trainer.network.predict import predict

        validation = self._data.subsets["validation"]
        if not validation.rows:
            return None
        scores = predict(self._model, validation.pixels, validation.indices)[:, 0]
        sheet = draw_contact_sheet(validation, scores, self._data.findings[0])
        return write_file(self._wanted.contact_sheet, sheet)


def _cause(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{type(error).__name__}: {text.strip().splitlines()[0]:.200}" if text.strip() else type(error).__name__
