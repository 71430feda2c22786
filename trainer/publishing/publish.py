"""Writes a fitted model with its split and history, and publishes them as one artifact."""

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
    """Publish a Keras model, whole or not at all.

    Args:
        model: a `keras.Model`.
        manifest: what it scores.
        split: what each scan was used for.
        models: where it goes.
        history: one mapping of figures for each epoch.
        documents: further files by name.
        export: writes the model into a folder for other runtimes.

    Raises:
        UserError: that place cannot be written.
    """
    with staging_folder() as staging:
        model.save(staging / MODEL_FILE)
        write_split(staging, split)
        _write_history(staging / HISTORY_FILE, history)
        for name, content in documents.items():
            (staging / name).write_bytes(content)
        return models.publish(staging, manifest, export(model, staging))


def refuse_taken_name(name: str, models: ModelStore) -> None:
    """A name is an alias of one artifact: better said before a fit than after it.

    Raises:
        UserError: an artifact has this name.
    """
    for sha256, manifest in models.manifests().items():
        if manifest.name == name:
            raise UserError(f"--name {name!r} is artifact {sha256[:12]} in {models.address} already; choose another")


@contextmanager
def staging_folder() -> Iterator[Path]:
    """A folder for what is about to be published; whatever is left of it goes with the block."""
    with TemporaryDirectory(prefix="nightread-", ignore_cleanup_errors=True) as parent:
        staging = Path(parent) / "staging"
        staging.mkdir()
        yield staging


def _write_history(path: Path, history: Sequence[Mapping[str, float | None]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(history[0]) if history else ["epoch"], lineterminator="\n")
        lines.writeheader()
        lines.writerows(history)
