"""`trainer fit`: fits a model on a labels CSV and publishes it as an artifact."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trainer.console.progress import FitProgress, format_figure, print_status
from trainer.data.training_data import Source, TrainingData, load_training_data
from trainer.fitting.base_model import (
    UNKNOWN_WEIGHTS_NOTE,
    add_base_model_scans,
    find_base_model,
    is_fitted_on_unknown_scans,
    refuse_data_leak,
    weights_file,
)
from trainer.fitting.checkpoint import PIXELS, CheckpointFile
from trainer.fitting.finish import Fitted, Wanted, finish
from trainer.fitting.history import Epoch
from trainer.fitting.manifest import make_manifest
from trainer.fitting.published_model import build_published_model
from trainer.fitting.tensorboard import LiveLog, live_log
from trainer.publishing.publish import check_same_scans, find_published, write_artifact
from trainer.recipe import Recipe
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore
from worker.entry_point import stoppable
from worker.images.pixels import PIXELS_VERSION
from worker.processes import native_stderr_muted

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
class _Published:
    artifact: Artifact
    data: TrainingData
    #: Whether TensorBoard's log has every epoch.
    is_logged: bool


def fit(name: str, source: Source, recipe: Recipe, options: FitOptions) -> Fitted:
    """Fit a model on the CSV's scans, publish it under this name, and then make what belongs beside it.

    A fit that was interrupted before it published the model resumes from its checkpoint; one that was interrupted
    afterwards makes what is missing.

    Raises:
        UserError: another fit's artifact has the name, the CSV is wrong, images are missing, or there are too few
            patients.
        WorkStopped: it was interrupted by Ctrl+C.
    """
    with stoppable("nothing was published; the same command resumes the fit after the last complete epoch"):
        published = _publish(name, source, recipe, options)
    wanted = Wanted(
        contact_sheet=options.scratch / "disagreements" / f"{name}.png",
        tensorboard=None if published.is_logged else options.tensorboard,
        export=options.export,
    )
    with stoppable(f"model {name} is published and usable; the same command makes what is missing beside it"):
        return finish(published.artifact, published.data, options.models, wanted)


def _publish(name: str, source: Source, recipe: Recipe, options: FitOptions) -> _Published:
    """Publish the model, unless the same command did so before."""
    artifact = find_published(name, recipe, source, options.models)
    base_model = find_base_model(recipe.weights, options.models)
    if is_fitted_on_unknown_scans(recipe.weights, base_model):
        print_status(UNKNOWN_WEIGHTS_NOTE)
    data = load_training_data(source, recipe, cache=options.scratch / "pixels")
    if base_model:
        refuse_data_leak(base_model, data.labels_file.dataset, data.split)
    split = add_base_model_scans(data.split, base_model)
    checkpoint_file = CheckpointFile(path=options.scratch / "fits" / f"{name}.npz", inputs=_inputs(recipe, data))
    is_logged = False
    if artifact:
        check_same_scans(artifact, split, options.models)
        print_status(f"model {name} is published already; making what is missing beside it")
    else:
        # Not in the recipe, whose hash must be the same on a machine with other folders.
        loadable = recipe.model_copy(update={"weights": weights_file(recipe.weights, base_model)})
        weights, history, policy, is_logged = _train(loadable, data, checkpoint_file, options)
        published = build_published_model(loadable, data, weights)
        manifest = make_manifest(name, recipe, data, published, history=history, policy=policy, base_model=base_model)
        rows = [epoch.as_row() for epoch in history]
        artifact = write_artifact(published.model, manifest, split=split, models=options.models, history=rows)
    checkpoint_file.remove()
    return _Published(artifact=artifact, data=data, is_logged=is_logged)


def _inputs(recipe: Recipe, data: TrainingData) -> dict[str, Any]:
    """What must be unchanged for a fit to resume."""
    return {
        **recipe.model_dump(mode="json"),
        PIXELS: [recipe.preprocessing.rule, PIXELS_VERSION],
        "labels": data.labels_file.sha256,
        "scans": len(data.split),
    }


def _train(
    recipe: Recipe, data: TrainingData, checkpoint_file: CheckpointFile, options: FitOptions
) -> tuple[list[NDArray[Any]], tuple[Epoch, ...], str, bool]:
    """Fit the model; returns its weights, the epochs' figures, the Keras dtype policy, and whether all were logged."""
    with native_stderr_muted():
        from trainer.fitting.training_loop import train
        from trainer.network.hardware import distribute_over_gpus, dtype_policy
        from trainer.network.model import build_model

    training, validation = data.subsets["train"], data.subsets["validation"]
    select = len(validation.rows) > 0
    with ExitStack() as stack:
        progress = stack.enter_context(FitProgress(epochs=recipe.epochs).live())
        log = stack.enter_context(live_log(options.tensorboard))
        stack.enter_context(distribute_over_gpus(enabled=options.all_gpus))
        policy = stack.enter_context(dtype_policy(recipe.precision))
        model = build_model(recipe, data.findings)
        size = f"{len(training.rows)} scans, {len(data.findings)} findings"
        print_status(f"fitting {recipe.encoder} in {policy} on {size}")
        # Without validation the test subset is scored to show progress; nothing is selected on it.
        monitored = "validation" if select else "test"
        listener = _listener(recipe, progress, log, monitored=monitored)
        history = train(
            model, training, data.subsets[monitored], recipe, checkpoint_file, listener=listener, select=select
        )
    return model.get_weights(), history, policy, not log.is_incomplete


def _listener(recipe: Recipe, progress: FitProgress, log: LiveLog, *, monitored: str) -> "Listener":
    from trainer.fitting.training_loop import Listener

    def on_epoch(epoch: Epoch) -> None:
        auroc, mean = format_figure(epoch.validation_auroc), format_figure(epoch.validation_mean_auroc)
        print_status(
            f"epoch {epoch.epoch}/{recipe.epochs}: loss {epoch.loss:.3f}, {monitored} AUROC {auroc}"
            f" (mean of findings {mean}), {epoch.images_per_second:.0f} images/s"
        )
        log.write(epoch)

    return Listener(on_step=lambda step: progress.step(**asdict(step)), on_epoch=on_epoch)
