"""`trainer fit`: fits a model on a labels CSV and publishes it as an artifact."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trainer.console.progress import FitProgress, format_figure, native_stderr_muted, print_status
from trainer.data.training_data import Source, TrainingData, load_training_data
from trainer.evaluation.contact_sheet import draw_contact_sheet
from trainer.evaluation.evaluate_artifact import (
    EVALUATION_FILE,
    EvaluationContext,
    evaluation_json,
    known_patients,
)
from trainer.evaluation.evaluator import Evaluation, evaluate
from trainer.evaluation.model_card import MODEL_CARD_FILE, render_model_card
from trainer.fitting.base_model import add_base_model_scans, find_base_model, refuse_data_leak
from trainer.fitting.checkpoint import CheckpointFile
from trainer.fitting.curves import CURVES_FILE, draw_curves
from trainer.fitting.history import Epoch
from trainer.fitting.manifest import make_manifest
from trainer.fitting.published_model import PublishedModel, build_published_model
from trainer.fitting.tensorboard import tensorboard_writer
from trainer.publishing.export import export_for_workers
from trainer.publishing.publish import check_name_is_free, write_artifact
from trainer.recipe import Recipe
from worker.artifacts.exports import Export
from worker.artifacts.manifest import Artifact, Manifest
from worker.artifacts.model_store import ModelStore
from worker.artifacts.split_file import SplitRow
from worker.files import write_file

if TYPE_CHECKING:
    from trainer.fitting.training_loop import Listener


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Where a fit runs and writes. No option changes what is fitted."""

    #: The store that the artifact is published to.
    models: ModelStore
    #: Folder of pixel caches, checkpoints of unfinished fits, and contact sheets.
    scratch: Path
    #: Folder for TensorBoard logs; None writes none.
    tensorboard: Path | None = None
    #: Whether each batch is divided among all GPUs.
    all_gpus: bool = False
    #: Whether an OpenVINO export is published too, for workers on CPUs.
    export: bool = True


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The results of a fit."""

    artifact: Artifact
    #: The published model's, on the test subset.
    evaluation: Evaluation
    #: A PNG of the validation scans where model and label disagree most; None without a validation subset.
    contact_sheet: Path | None


def fit(name: str, source: Source, recipe: Recipe, options: FitOptions) -> Fitted:
    """Fit a model on the CSV's scans and publish it under this name. An interrupted fit resumes from its checkpoint.

    Raises:
        UserError: the name is taken, the CSV is wrong, images are missing, or there are too few patients.
    """
    check_name_is_free(name, options.models)
    base_model = find_base_model(recipe.weights)
    data = load_training_data(source, recipe, cache=options.scratch / "pixels")
    if base_model:
        refuse_data_leak(base_model, data.labels_file.dataset, data.split)
    checkpoint_file = CheckpointFile(path=options.scratch / "fits" / f"{name}.npz", inputs=_inputs(recipe, data))
    weights, history, policy = _train(recipe, data, checkpoint_file, options)
    published = build_published_model(recipe, data, weights)
    evaluation = _evaluate(published, data)
    manifest = make_manifest(name, recipe, data, published, history=history, policy=policy, base_model=base_model)
    split = add_base_model_scans(data.split, base_model)
    artifact = _publish(published, manifest, evaluation, data, history=history, split=split, options=options)
    checkpoint_file.remove()
    contact_sheet = _write_contact_sheet(options.scratch / "disagreements" / f"{name}.png", published, data)
    return Fitted(artifact=artifact, evaluation=evaluation, contact_sheet=contact_sheet)


def _inputs(recipe: Recipe, data: TrainingData) -> dict[str, Any]:
    """What must be unchanged for a fit to resume."""
    return {**recipe.model_dump(mode="json"), "labels": data.labels_file.sha256, "scans": len(data.split)}


def _train(
    recipe: Recipe, data: TrainingData, checkpoint_file: CheckpointFile, options: FitOptions
) -> tuple[list[NDArray[Any]], tuple[Epoch, ...], str]:
    """Fit the model; returns its weights, the epochs' figures, and the Keras dtype policy."""
    with native_stderr_muted():
        from trainer.fitting.training_loop import train
        from trainer.network.hardware import distribute_over_gpus, dtype_policy
        from trainer.network.model import build_model

    training, validation = data.subsets["train"], data.subsets["validation"]
    select = len(validation.rows) > 0
    with ExitStack() as stack:
        progress = stack.enter_context(FitProgress(epochs=recipe.epochs).live())
        write_epoch = stack.enter_context(tensorboard_writer(options.tensorboard))
        stack.enter_context(distribute_over_gpus(enabled=options.all_gpus))
        policy = stack.enter_context(dtype_policy(recipe.precision))
        model = build_model(recipe, data.findings)
        size = f"{len(training.rows)} scans, {len(data.findings)} findings"
        print_status(f"fitting {recipe.encoder} in {policy} on {size}")
        # Without validation the test subset is scored to show progress; nothing is selected on it.
        monitored = "validation" if select else "test"
        listener = _listener(recipe, progress, write_epoch, monitored=monitored)
        history = train(
            model, training, data.subsets[monitored], recipe, checkpoint_file, listener=listener, select=select
        )
    return model.get_weights(), history, policy


def _listener(
    recipe: Recipe, progress: FitProgress, write_epoch: Callable[[Epoch], None], *, monitored: str
) -> "Listener":
    from trainer.fitting.training_loop import Listener

    def on_epoch(epoch: Epoch) -> None:
        auroc, mean = format_figure(epoch.validation_auroc), format_figure(epoch.validation_mean_auroc)
        print_status(
            f"epoch {epoch.epoch}/{recipe.epochs}: loss {epoch.loss:.3f}, {monitored} AUROC {auroc}"
            f" (mean of findings {mean}), {epoch.images_per_second:.0f} images/s"
        )
        write_epoch(epoch)

    return Listener(on_step=lambda step: progress.step(**asdict(step)), on_epoch=on_epoch)


def _evaluate(published: PublishedModel, data: TrainingData) -> Evaluation:
    from trainer.network.predict import predict

    test = data.subsets["test"]
    scores = predict(published.model, test.pixels, test.indices)
    return evaluate(
        test.rows, test.labels, scores, published.thresholds, findings=data.findings, mean_pixels=test.mean_pixels
    )


def _publish(
    published: PublishedModel,
    manifest: Manifest,
    evaluation: Evaluation,
    data: TrainingData,
    *,
    history: Sequence[Epoch],
    split: Sequence[SplitRow],
    options: FitOptions,
) -> Artifact:
    test = data.subsets["test"]
    note = known_patients(test.rows, split).note
    documents = {
        EVALUATION_FILE: evaluation_json(_evaluation_context(manifest.name, data, note), evaluation).encode(),
        CURVES_FILE: draw_curves(history),
        MODEL_CARD_FILE: render_model_card(manifest, evaluation, note).encode(),
    }
    export = partial(export_for_workers, pixels=test.pixels, indices=test.indices, batch_size=manifest.batch_size)
    return write_artifact(
        published.model,
        manifest,
        split=split,
        models=options.models,
        history=[epoch.as_row() for epoch in history],
        documents=documents,
        export=export if options.export else _no_export,
    )


def _evaluation_context(name: str, data: TrainingData, held_out_note: str | None) -> EvaluationContext:
    return EvaluationContext(
        model=name,
        model_sha256=None,
        dataset=data.labels_file.dataset,
        labels_sha256=data.labels_file.sha256,
        subset="test",
        seen=len(data.split) - len(data.subsets["test"].rows),
        held_out_note=held_out_note,
        unreadable=data.unreadable,
    )


def _no_export(_model: Any, _folder: Path) -> Mapping[str, Export]:
    return {}


def _write_contact_sheet(path: Path, published: PublishedModel, data: TrainingData) -> Path | None:
    validation = data.subsets["validation"]
    if not validation.rows:
        return None
    return write_file(path, draw_contact_sheet(validation, published.validation_scores[:, 0], data.findings[0]))
