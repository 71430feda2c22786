"""Writes the manifest of a fitted model: what it scores, and how it was fitted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.data.training_data import TrainingData
from trainer.data.views import known_views
from trainer.fitting.base_model import BLACK, WHITE, is_fitted_on_unknown_scans
from trainer.fitting.history import Epoch
from trainer.fitting.published_model import PublishedModel
from trainer.recipe import Recipe
from worker.artifacts.manifest import FITTED_SCANS, FORMAT_VERSION, UNKNOWN, Artifact, Manifest


def make_manifest(
    name: str,
    recipe: Recipe,
    data: TrainingData,
    published: PublishedModel,
    *,
    history: Sequence[Epoch],
    policy: str,
    base_model: Artifact | None,
) -> Manifest:
    """The manifest, without `files`; `policy` is the Keras dtype policy that the fit computed in."""
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        encoder=recipe.encoder,
        findings=data.findings,
        preprocessing=recipe.preprocessing,
        views=known_views(row.view for row in data.subsets["train"].rows),
        dataset=data.labels_file.dataset,
        thresholds=published.thresholds,
        temperatures=published.temperatures,
        about=_about(recipe, data, history)
        | {
            "computed_in": policy,
            "parameters": int(published.model.count_params()),
            "weights": _initial_weights(recipe, base_model),
            **({FITTED_SCANS: UNKNOWN} if is_fitted_on_unknown_scans(recipe.weights, base_model) else {}),
        },
    )


def _about(recipe: Recipe, data: TrainingData, history: Sequence[Epoch]) -> dict[str, str | int | float]:
    from worker.artifacts.keras_import import keras

    flags = {key: value for key, value in recipe.model_dump().items() if isinstance(value, str | int | float)}
    return {
        **flags,
        **(dict(zip((BLACK, WHITE), recipe.range, strict=True)) if recipe.range else {}),
        "epochs_fitted": len(history),
        "recipe_sha256": recipe.sha256,
        "csv_sha256": data.labels_file.sha256,
        **_reading(data),
        **({"synthetic": 1} if data.is_synthetic else {}),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        **{f"scans_{name}": len(subset.rows) for name, subset in data.subsets.items()},
        **_validation_auroc(data, history),
    }


def _reading(data: TrainingData) -> dict[str, str]:
    reading = "; ".join(f"{name}: {value}" for name, value in data.labels_file.reading.items())
    return {"labels_read_as": reading} if reading else {}


def _validation_auroc(data: TrainingData, history: Sequence[Epoch]) -> dict[str, float]:
    # Without a validation subset, the epochs' figures are of the test subset.
    aurocs = [epoch.validation_auroc for epoch in history if epoch.validation_auroc is not None]
    return {"validation_auroc": round(max(aurocs), 4)} if aurocs and data.subsets["validation"].rows else {}


def _initial_weights(recipe: Recipe, base_model: Artifact | None) -> str:
    # The file's name without its folder, which says something about this machine only.
    return f"{base_model.manifest.name} ({base_model.sha256[:12]})" if base_model else Path(recipe.weights).name
