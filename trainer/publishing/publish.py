"""Publishes a fitted model with its split and history as one artifact."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from db.errors import UserError
from trainer.data.training_data import Source
from trainer.recipe import Recipe
from worker.artifacts.manifest import MODEL_FILE, Artifact, Manifest
from worker.artifacts.model_store import ModelStore
from worker.artifacts.split_file import SplitRow, read_split, write_split

HISTORY_FILE: Final = "history.csv"


def write_artifact(
    model: Any,
    manifest: Manifest,
    *,
    split: Iterable[SplitRow],
    models: ModelStore,
    history: Sequence[Mapping[str, float | None]] = (),
) -> Artifact:
    """Publish a Keras model as an artifact, completely or not at all.

    Args:
        model: a `keras.Model`.
        manifest: the artifact's manifest without its `files`.
        split: the subset of each scan.
        models: the store to publish to.
        history: one mapping of figures for each epoch. A model that was not fitted here has none, and no file of it.

    Raises:
        UserError: the store cannot be written.
    """
    with staging_folder() as staging:
        _save(model, staging / MODEL_FILE)
        write_split(staging, split)
        if history:
            _write_history(staging / HISTORY_FILE, history)
        return models.publish(staging, manifest)


def find_published(name: str, recipe: Recipe, source: Source, models: ModelStore) -> Artifact | None:
    """The artifact that a fit with this name, recipe and CSV has published before; None if the name is free.

    Raises:
        UserError: see `find_named`.
    """

    def is_same_fit(manifest: Manifest) -> bool:
        about = manifest.about
        # The CSV is read only if the recipe is the same.
        return about.get("recipe_sha256") == recipe.sha256 and about.get("csv_sha256") == source.read_labels().sha256

    return find_named(name, models, is_same=is_same_fit)


def find_named(name: str, models: ModelStore, *, is_same: Callable[[Manifest], bool]) -> Artifact | None:
    """The artifact that has this name, if it is the one that would be published; None if the name is free.

    Raises:
        UserError: see `check_name`; or another artifact has this name, because a name stands for one artifact only.
    """
    check_name(name)
    contents = models.contents()
    found = {sha256: manifest for sha256, manifest in contents.manifests.items() if manifest.name == name}
    taken = [*found, *(folder.name for folder in contents.unusable if folder.model == name)]
    if not taken:
        return None
    if len(taken) > 1 or taken[0] not in found or not is_same(found[taken[0]]):
        raise _name_is_taken(name, taken[0], models)
    return models.find(taken[0])


def check_name(name: str) -> None:
    """Check that people can ask for a model by this name.

    Raises:
        UserError: it is empty, or has characters that no terminal shows.
    """
    if not name.strip() or not name.isprintable():
        raise UserError(f"--name {name!a:.200} is empty, or cannot be printed; choose another")


def check_same_scans(artifact: Artifact, split: Iterable[SplitRow], models: ModelStore) -> None:
    """Check that an artifact was fitted and tested on the same images in the same subsets.

    Raises:
        UserError: its split is another one.
    """
    if list(read_split(artifact.folder)) != list(split):
        raise _name_is_taken(artifact.manifest.name, artifact.sha256, models)


def add_file(artifact: Artifact, name: str, content: bytes, models: ModelStore) -> None:
    """Write a file beside an artifact's own files. It is no part of the artifact's identity.

    Raises:
        UserError: the store cannot be written.
    """
    with staging_folder() as staging:
        (staging / name).write_bytes(content)
        models.add(artifact, staging, last=name)


@contextmanager
def staging_folder() -> Iterator[Path]:
    """A temporary folder for an artifact's files before they are published."""
    with TemporaryDirectory(prefix="nightread-", ignore_cleanup_errors=True) as parent:
        staging = Path(parent) / "staging"
        staging.mkdir()
        yield staging


def _name_is_taken(name: str, identity: str, models: ModelStore) -> UserError:
    return UserError(f"--name {name!r} already belongs to artifact {identity[:12]} in {models.address}; choose another")


def _save(model: Any, path: Path) -> None:
    try:
        model.save(path)
    except (OSError, RuntimeError) as error:
        # On a full disk h5py raises either.
        cause = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UserError(f"{path}: the model cannot be written ({cause[0]:.200}); make room and try again") from error


def _write_history(path: Path, history: Sequence[Mapping[str, float | None]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
