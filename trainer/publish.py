"""Writes a fitted model with its split and history, and publishes them as one artifact."""

import csv
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from db.errors import UserError
from trainer.split import write_split
from worker.artifact import Artifact, SplitRow, list_artifacts, publish
from worker.manifest import MODEL_FILE, Manifest

HISTORY_FILE: Final = "history.csv"


def write_artifact(
    model: Any,
    manifest: Manifest,
    *,
    split: Iterable[SplitRow],
    model_dir: Path,
    history: Sequence[Mapping[str, float | None]] = (),
    papers: Mapping[str, bytes] = MappingProxyType({}),
) -> Artifact:
    """Publish a Keras model, whole or not at all.

    Args:
        model: a `keras.Model`.
        manifest: what it scores.
        split: what each scan was used for.
        model_dir: where it goes.
        history: one mapping of figures for each epoch.
        papers: further files by name.

    Raises:
        UserError: the model folder cannot be written.
    """
    staging = _staging(model_dir)
    try:
        model.save(staging / MODEL_FILE)
        write_split(staging, split)
        _write_history(staging / HISTORY_FILE, history)
        for name, content in papers.items():
            (staging / name).write_bytes(content)
        return publish(staging, model_dir, manifest)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def refuse_taken_name(name: str, model_dir: Path) -> None:
    """A name is an alias of one artifact: better said before a fit than after it.

    Raises:
        UserError: an artifact has this name.
    """
    for artifact in list_artifacts(model_dir):
        if artifact.manifest.name == name:
            held = f"artifact {artifact.sha256[:12]} in {model_dir}"
            raise UserError(f"--name {name!r} is {held} already; choose another")


def _staging(model_dir: Path) -> Path:
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=model_dir))
    except OSError as error:
        raise UserError(f"{model_dir}: cannot be written ({error.strerror})") from error
    # mkdtemp's 0700 would shut out workers that run as another user.
    staging.chmod(0o755)
    return staging


def _write_history(path: Path, history: Sequence[Mapping[str, float | None]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(history[0]) if history else ["epoch"], lineterminator="\n")
        lines.writeheader()
        lines.writerows(history)
