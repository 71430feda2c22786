"""Publishes a fitted model with its split and history as one artifact."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

from db.errors import UserError
from worker.artifacts.exports import Export
from worker.artifacts.manifest import MODEL_FILE, Artifact, Manifest
from worker.artifacts.model_store import ModelStore
from worker.artifacts.split_file import SplitRow, write_split

HISTORY_FILE: Final = "history.csv"


def write_artifact(
    model: Any,
    manifest: Manifest,
    *,
    split: Iterable[SplitRow],
    models: ModelStore,
    history: Sequence[Mapping[str, float | None]] = (),
    documents: Mapping[str, bytes] = MappingProxyType({}),
    export: Callable[[Any, Path], Mapping[str, Export]] = lambda _model, _folder: {},
) -> Artifact:
    """Publish a Keras model as an artifact, completely or not at all.

    Args:
        model: a `keras.Model`.
        manifest: the artifact's manifest without its `files`.
        split: the subset of each scan.
        models: the store to publish to.
        history: one mapping of figures for each epoch.
        documents: contents of further files by name.
        export: writes the model into a folder in other runtimes' formats, and returns the exports by format.

    Raises:
        UserError: the store cannot be written.
    """
    with staging_folder() as staging:
        model.save(staging / MODEL_FILE)
        write_split(staging, split)
        _write_history(staging / HISTORY_FILE, history)
        for name, content in documents.items():
            (staging / name).write_bytes(content)
        return models.publish(staging, manifest, export(model, staging))


def check_name_is_free(name: str, models: ModelStore) -> None:
    """Check before a fit that no artifact has this name, because a name stands for one artifact only.

    Raises:
        UserError: an artifact has this name already.
    """
    contents = models.contents()
    taken = {manifest.name: sha256[:12] for sha256, manifest in contents.manifests.items()}
    taken |= {folder.model: folder.name for folder in contents.unusable if folder.model is not None}
    if name in taken:
        raise UserError(
            f"--name {name!r} already belongs to artifact {taken[name]} in {models.address}; choose another"
        )


@contextmanager
def staging_folder() -> Iterator[Path]:
    """A temporary folder for an artifact's files before they are published."""
    with TemporaryDirectory(prefix="nightread-", ignore_cleanup_errors=True) as parent:
        staging = Path(parent) / "staging"
        staging.mkdir()
        yield staging


def _write_history(path: Path, history: Sequence[Mapping[str, float | None]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]) if history else ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
