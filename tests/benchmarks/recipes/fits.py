"""Fits one try by the trainer's own loop, and scores the validation scans with it in several ways."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.recipes.table import BEST_EPOCHS, MIRRORED, SINGLE, Outcome
from tests.benchmarks.recipes.tries import Try
from tests.benchmarks.recipes.variations import varied
from trainer.console.progress import print_status
from trainer.data.training_data import Source, Subset, TrainingData, load_training_data
from trainer.fitting import training_loop
from trainer.fitting.checkpoint import CheckpointFile
from trainer.fitting.history import Epoch, best_epoch
from trainer.fitting.training_loop import Listener, train
from trainer.network.hardware import dtype_policy
from trainer.network.model import build_model
from trainer.network.predict import predict
from trainer.recipe import Recipe, make_recipe
from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import has_gpu

#: How many epochs' weights are averaged.
_BEST_EPOCHS: Final = 5


class OutOfTime(Exception):
    """The time given to this process is over; the same command resumes the fit after its last complete epoch."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all tries of one table have in common."""

    source: Source
    encoder: str
    size: int
    epochs: int
    #: Folder of this table's files.
    folder: Path
    #: `time.monotonic` after which fits stop; a fit stops only between two epochs.
    deadline: float

    def recipe(self, **overrides: Any) -> Recipe:
        """The baseline's recipe with other values."""
        return make_recipe("best", **{"encoder": self.encoder, "size": self.size, "epochs": self.epochs, **overrides})

    def load(self, size: int) -> TrainingData:
        """The scans at one size, with the baseline's split."""
        return load_training_data(self.source, self.recipe(size=size), cache=self.folder.parent / "pixels")


def run_try(one: Try, setting: Setting) -> Outcome:
    """Fit and score a try. An interrupted fit resumes.

    Raises:
        OutOfTime: it is not finished.
    """
    overrides = dict(one.overrides)
    history: list[Epoch] = []
    if one.from_half_size:
        stage = setting.recipe(size=setting.size // 2, mirror=0.5, averaging=0.995)
        weights, history = _first_stage(one, stage, setting)
        overrides |= {"weights": str(weights), "epochs": max(1, setting.epochs // 3)}
    recipe = setting.recipe(**overrides)
    recipe = recipe.model_copy(update={key: one.longer * getattr(recipe, key) for key in ("epochs", "patience")})
    data = setting.load(setting.size)
    with _fitted(one, recipe, data, setting, one.name) as fitted:
        validation = data.subsets["validation"]
        scores = _score(fitted, validation)
    epochs = [*history, *fitted.history]
    best = fitted.history[best_epoch(fitted.history)]
    return Outcome(
        figures={
            "try": one.name,
            "about": one.about,
            "recipe": recipe.model_dump(mode="json"),
            "findings": data.findings,
            "scans": {"train": len(fitted.training.rows), "validation": len(validation.rows)},
            "hours": sum(epoch.seconds for epoch in epochs) / 3600,
            "images_per_second": median(epoch.images_per_second for epoch in fitted.history),
            "best_epoch": best.epoch,
            "epochs": len(fitted.history),
            "auroc_in_the_fit": best.validation_auroc,
            "history": [epoch.as_row() for epoch in epochs],
            "machine": _machine(fitted.policy),
        },
        labels=validation.labels,
        patients=[row.patient_id or row.image_name for row in validation.rows],
        scores=scores,
    )


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    model: Any
    history: tuple[Epoch, ...]
    training: Subset
    policy: str
    best: "_BestWeights"


@contextmanager
def _fitted(one: Try, recipe: Recipe, data: TrainingData, setting: Setting, name: str) -> Iterator[_Fitted]:
    """A fitted model; afterwards what a resumed fit would need is deleted."""
    training = _training_scans(data, one.test_share_to_fit)
    checkpoint_file = CheckpointFile(
        path=setting.folder / f"{name}.checkpoint.npz",
        inputs={**recipe.model_dump(mode="json"), "try": repr(one), "scans": len(training.rows)},
    )
    best = _BestWeights(setting.folder / f"{name}.epochs")
    with dtype_policy(recipe.precision) as policy:
        model = build_model(recipe, data.findings)
        print_status(f"{name}: fitting {recipe.encoder} in {policy} on {len(training.rows)} scans")
        listener = _listener(name, recipe, best, setting.deadline)
        with varied(one), best.watching():
            validation = data.subsets["validation"]
            history = train(model, training, validation, recipe, checkpoint_file, listener=listener, select=True)
        yield _Fitted(model=model, history=history, training=training, policy=policy, best=best)
    checkpoint_file.remove()
    best.remove()
    keras.utils.clear_session()


def _first_stage(one: Try, recipe: Recipe, setting: Setting) -> tuple[Path, list[Epoch]]:
    """The file of the model of the first of two stages, and its epochs."""
    path = setting.folder / f"{one.name}.first.keras"
    rows = path.with_suffix(".json")
    if not rows.exists():
        with _fitted(one, recipe, setting.load(recipe.size), setting, f"{one.name}.first") as fitted:
            fitted.model.save(path)
            rows.write_text(json.dumps([epoch.as_row() for epoch in fitted.history]))
    return path, [Epoch.from_row(row) for row in json.loads(rows.read_text())]


def _training_scans(data: TrainingData, test_share: float) -> Subset:
    """The training scans, with those of a share of the test patients."""
    training, test = data.subsets["train"], data.subsets["test"]
    patients = sorted({row.patient_id or "" for row in test.rows})
    chosen = set(np.random.default_rng(0).permutation(patients)[: round(test_share * len(patients))].tolist())
    more = [number for number, row in enumerate(test.rows) if (row.patient_id or "") in chosen]
    return replace(
        training,
        rows=training.rows + tuple(test.rows[number] for number in more),
        indices=np.concatenate([training.indices, test.indices[more]]),
        labels=np.concatenate([training.labels, test.labels[more]]),
    )


def _listener(name: str, recipe: Recipe, best: "_BestWeights", deadline: float) -> Listener:
    def on_epoch(epoch: Epoch) -> None:
        best.keep(epoch)
        print_status(
            f"{name}: epoch {epoch.epoch}/{recipe.epochs}: loss {epoch.loss:.3f}, validation AUROC"
            f" {epoch.validation_auroc or 0:.4f}, {epoch.images_per_second:.0f} images/s"
        )
        if epoch.epoch < recipe.epochs and time.monotonic() > deadline:
            raise OutOfTime

    return Listener(on_epoch=on_epoch)


def _score(fitted: _Fitted, validation: Subset) -> dict[str, NDArray[np.float32]]:
    pixels = np.asarray(validation.pixels[validation.indices])
    places = np.arange(len(pixels))
    single = predict(fitted.model, pixels, places)
    mirrored = predict(fitted.model, np.ascontiguousarray(pixels[:, :, ::-1]), places)
    fitted.model.set_weights(fitted.best.mean())
    return {
        SINGLE: single,
        MIRRORED: np.mean([single, mirrored], axis=0),
        BEST_EPOCHS: predict(fitted.model, pixels, places),
    }


class _BestWeights:
    """Keeps the weights that were validated after the best epochs on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._weights: list[NDArray[Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block notes which weights the loop validates: with averaging these are not those it fits."""
        own: Callable[..., Any] = training_loop.predict

        def watched(model: Any, *arguments: Any) -> Any:
            self._weights = model.get_weights()
            return own(model, *arguments)

        with patch.object(training_loop, "predict", watched):
            yield

    def keep(self, epoch: Epoch) -> None:
        """Keep the weights that were validated last, and no more than the best."""
        path = self._folder / f"{epoch.validation_auroc or 0:.9f}-{epoch.epoch:04d}.npz"
        np.savez(path, *self._weights)
        for worse in self._files()[:-_BEST_EPOCHS]:
            worse.unlink()

    def mean(self) -> list[NDArray[Any]]:
        """The mean of the weights, batch normalization's statistics included."""
        kept = [list(np.load(path).values()) for path in self._files()]
        return [np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype) for arrays in zip(*kept, strict=True)]

    def remove(self) -> None:
        """Delete the files."""
        for path in self._files():
            path.unlink()
        self._folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self._folder.iterdir())


def _machine(policy: str) -> dict[str, Any]:
    return {
        "backend": keras.backend.backend(),
        "gpu": has_gpu(),
        "cores": os.cpu_count(),
        "nice": os.nice(0),
        "policy": policy,
    }
