"""`trainer fit`: from a labels CSV to a published artifact."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.console.progress import FitProgress, in_words, native_stderr_muted, say
from trainer.data.training_data import Source, TrainingData, load_training_data
from trainer.evaluation.contact_sheet import draw_sheet
from trainer.evaluation.evaluate_artifact import EVALUATION_FILE, EvaluationOf, evaluation_json
from trainer.evaluation.evaluator import Evaluation, evaluate
from trainer.evaluation.model_card import CARD_FILE, write_card
from trainer.fitting.base_model import donor_of, refuse_leak, with_donors_scans
from trainer.fitting.checkpoint import StateFile
from trainer.fitting.curves import CURVES_FILE, draw_curves
from trainer.fitting.tensorboard import epochs_on_board
from trainer.publishing.export import export_for_workers
from trainer.publishing.publish import check_name_is_free, write_artifact
from trainer.recipe import Recipe
from worker.artifacts.manifest import Artifact, Manifest
from worker.artifacts.model_store import ModelStore
from worker.artifacts.split_file import SUBSETS
from worker.files import write_file

if TYPE_CHECKING:
    from trainer.fitting.training_loop import Epoch, Listener


@dataclass(frozen=True, kw_only=True)
class FitSetting:
    """Where a fit runs and writes; nothing here changes what it comes to."""

    #: Where the artifact goes.
    models: ModelStore
    #: Holds pixel caches and the states of unfinished fits.
    scratch: Path
    #: Where TensorBoard's logs go; None writes none.
    tensorboard: Path | None = None
    #: Each batch is dealt to all GPUs.
    all_gpus: bool = False
    #: What is published has its twin for OpenVINO, for workers on CPUs.
    export: bool = True


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit came to."""

    artifact: Artifact
    #: On the test subset, as published.
    evaluation: Evaluation
    #: Scans of the validation subset where model and label disagree most; None without one.
    sheet: Path | None


def fit(name: str, source: Source, recipe: Recipe, setting: FitSetting) -> Fitted:
    """Fit a model on the CSV's scans and publish it under this name; the same call goes on after a kill.

    Raises:
        UserError: the name is taken, the CSV is wrong, images are missing, or patients are too few.
    """
    check_name_is_free(name, setting.models)
    donor = donor_of(recipe.weights)
    material = load_training_data(source, recipe, cache=setting.scratch / "pixels")
    if donor:
        rows = {subset: own.rows for subset, own in material.subsets.items()}
        refuse_leak(donor, material.file.dataset, validation=rows["validation"], test=rows["test"])
    state = StateFile(path=setting.scratch / "fits" / f"{name}.npz", purpose=_purpose(material, recipe))
    weights, history, facts = _train(recipe, material, state, setting)
    from trainer.network.predict import predict

    finished = _finish(recipe, material, weights)
    test = material.subsets["test"]
    scores = predict(finished.model, test.pixels, test.places)
    evaluation = evaluate(
        test.rows, test.labels, scores, finished.thresholds, findings=material.findings, means=test.means
    )
    manifest = Manifest(
        name=name,
        encoder=recipe.encoder,
        findings=material.findings,
        preprocessing=recipe.preprocessing,
        dataset=material.file.dataset,
        thresholds=finished.thresholds,
        temperatures=finished.temperatures,
        about=_about(recipe, material, history)
        | facts
        | {"parameters": int(finished.model.count_params()), "weights": _begun_from(recipe, donor)},
    )
    figures = [asdict(epoch) for epoch in history]
    documents = {
        EVALUATION_FILE: evaluation_json(_of(name, material), evaluation).encode(),
        CURVES_FILE: draw_curves(figures),
        CARD_FILE: write_card(manifest, evaluation).encode(),
    }
    artifact = write_artifact(
        finished.model,
        manifest,
        split=with_donors_scans(material.split, donor),
        models=setting.models,
        history=figures,
        documents=documents,
        export=partial(export_for_workers, pixels=test.pixels, places=test.places, batch_size=manifest.batch_size)
        if setting.export
        else lambda _model, _folder: {},
    )
    state.remove()
    return Fitted(artifact=artifact, evaluation=evaluation, sheet=_sheet(name, material, finished, setting))


@dataclass(frozen=True, kw_only=True)
class _Finished:
    """The model as it is published: float32, calibrated on validation, where there is one."""

    model: Any
    temperatures: dict[str, float]
    thresholds: dict[str, dict[str, float]]
    #: Of the validation subset, float32 (N, findings).
    scores: NDArray[np.float32]


def _train(
    recipe: Recipe, material: TrainingData, state: StateFile, setting: FitSetting
) -> tuple[list[NDArray[Any]], tuple["Epoch", ...], dict[str, str]]:
    with native_stderr_muted():
        from trainer.fitting.training_loop import train
        from trainer.network.hardware import computing_in, on_all_gpus
        from trainer.network.model import build_model

    fitted, validation, test = (material.subsets[subset] for subset in SUBSETS)
    select = len(validation.rows) > 0
    with (
        FitProgress(epochs=recipe.epochs).shown() as progress,
        epochs_on_board(setting.tensorboard) as note,
        on_all_gpus(wished=setting.all_gpus),
        computing_in(recipe.precision) as policy,
    ):
        model = build_model(recipe, material.findings)
        say(f"fitting {recipe.encoder} in {policy} on {len(fitted.rows)} scans, {len(material.findings)} findings")
        watched = validation if select else test
        listener = _listener(recipe, progress, note, watched="validation" if select else "test")
        history = train(model, fitted, watched, recipe, state, listener=listener, select=select)
    return model.get_weights(), history, {"computed_in": policy}


def _listener(recipe: Recipe, progress: FitProgress, note: Callable[["Epoch"], None], *, watched: str) -> "Listener":
    from trainer.fitting.training_loop import Listener

    def tell(epoch: "Epoch") -> None:
        say(_in_a_line(epoch, recipe, watched=watched))
        note(epoch)

    return Listener(on_step=lambda step: progress.step(**asdict(step)), on_epoch=tell)


def _finish(recipe: Recipe, material: TrainingData, weights: Sequence[NDArray[Any]]) -> _Finished:
    """The same weights in float32, calibrated on validation, where there is one."""
    from trainer.fitting.calibrate import bake, calibrate, choose_thresholds
    from trainer.network.compiled_model import positive_weights
    from trainer.network.model import build_model, logits_of
    from trainer.network.predict import predict

    model = build_model(recipe, material.findings, bare=True)
    model.set_weights(weights)
    validation = material.subsets["validation"]
    if not validation.rows:
        return _Finished(model=model, temperatures={}, thresholds={}, scores=np.zeros((0, 0), np.float32))
    logits = predict(logits_of(model), validation.pixels, validation.places)
    calibrations = calibrate(validation.labels, logits, positive_weights(material.subsets["train"].labels, recipe))
    bake(model, calibrations)
    scores = predict(model, validation.pixels, validation.places)
    chosen = {
        finding: choose_thresholds(validation.labels[:, at], scores[:, at])
        for at, finding in enumerate(material.findings)
    }
    temperatures = {finding: one.temperature for finding, one in zip(material.findings, calibrations, strict=True)}
    return _Finished(model=model, temperatures=temperatures, thresholds=chosen, scores=scores)


def _sheet(name: str, material: TrainingData, finished: _Finished, setting: FitSetting) -> Path | None:
    validation = material.subsets["validation"]
    if not validation.rows:
        return None
    path = setting.scratch / "disagreements" / f"{name}.png"
    return write_file(path, draw_sheet(validation, finished.scores[:, 0], material.findings[0]))


def _in_a_line(epoch: "Epoch", recipe: Recipe, *, watched: str) -> str:
    return (
        f"epoch {epoch.epoch}/{recipe.epochs}: loss {epoch.loss:.3f}, {watched} AUROC {in_words(epoch.watched_auroc)}"
        f" (mean of findings {in_words(epoch.watched_mean_auroc)}), {epoch.images_per_second:.0f} images/s"
    )


def _purpose(material: TrainingData, recipe: Recipe) -> dict[str, Any]:
    """What must be the same for a fit to go on."""
    return {**recipe.model_dump(mode="json"), "labels": material.file.sha256, "scans": len(material.split)}


def _begun_from(recipe: Recipe, donor: Artifact | None) -> str:
    # Not the path: it is of this machine.
    return f"{donor.manifest.name} ({donor.sha256[:12]})" if donor else Path(recipe.weights).name


def _of(name: str, material: TrainingData) -> EvaluationOf:
    return EvaluationOf(
        model=name,
        model_sha256=None,
        dataset=material.file.dataset,
        labels_sha256=material.file.sha256,
        subset="test",
        seen=len(material.split) - len(material.subsets["test"].rows),
        unreadable=material.left_out,
    )


def _about(recipe: Recipe, material: TrainingData, history: Sequence["Epoch"]) -> dict[str, str | int | float]:
    import keras

    chosen = {key: value for key, value in recipe.model_dump().items() if isinstance(value, str | int | float)}
    reached = [epoch.watched_auroc for epoch in history if epoch.watched_auroc is not None]
    figures = {"validation_auroc": round(max(reached), 4)} if reached and material.subsets["validation"].rows else {}
    return {
        **chosen,
        "epochs_fitted": len(history),
        "csv_sha256": material.file.sha256,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        **{f"scans_{subset}": len(own.rows) for subset, own in material.subsets.items()},
        **figures,
    }
