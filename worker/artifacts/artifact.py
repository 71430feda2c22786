"""Publishes, finds and verifies artifacts: folders with `manifest.json`, `model.keras` and `split.csv`.

An artifact's identity is the sha256 of its manifest, which holds the sha256 of every other file.
A changed byte therefore makes another artifact or a damaged one. The folder is named after the identity.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from db.errors import UserError
from worker.artifacts.exports import EXPORT_FILE_NAMES, Export, write_exports
from worker.artifacts.manifest import (
    INCOMPLETE,
    MANIFEST_FILE,
    MODEL_FILE,
    Artifact,
    Manifest,
    check_no_file_is_missing,
    read_manifest,
)
from worker.files import new_folder


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact and verify every file against the manifest.

    Raises:
        UserError: the manifest is wrong or does not list the model, or a file is missing or damaged (the message
            gives both hashes).
    """
    manifest = read_manifest(folder)
    if MODEL_FILE not in manifest.files:
        raise UserError(f"{folder / MANIFEST_FILE}: does not list {MODEL_FILE}, so its bytes cannot be verified")
    check_no_file_is_missing(manifest, [name for name in manifest.files if os.path.lexists(folder / name)], folder)
    for name, expected in manifest.files.items():
        _verify(folder / name, expected, folder / name)
    return Artifact(folder=folder, sha256=file_sha256(folder / MANIFEST_FILE), manifest=manifest)


@contextmanager
def verified_copy(artifact: Artifact, name: str) -> Iterator[Path]:
    """A verified temporary copy of one of an artifact's files; nobody can change it between its check and its use.

    Raises:
        UserError: the file was damaged after the artifact was verified, or the disk has no room for a copy.
    """
    with tempfile.TemporaryDirectory(prefix="nightread-model-") as folder:
        path, copy = artifact.folder / name, Path(folder, name)
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            raise UserError(f"{path}: cannot be copied to {folder} ({error.strerror})") from error
        _verify(copy, artifact.manifest.files[name], path)
        yield copy


def publish(
    staging: Path, model_dir: Path, manifest: Manifest, formats: Mapping[str, Export] = MappingProxyType({})
) -> Artifact:
    """Write the manifest into `staging` and move the folder to `model_dir/<first 12 digits of its sha256>`, atomically.

    Publishing the same bytes twice is harmless: the existing folder is kept.

    Args:
        staging: the folder that becomes the artifact; it is gone afterwards.
        model_dir: the folder of artifacts.
        manifest: the manifest without its `files`.
        formats: the exports in `staging` by their formats' names.

    Raises:
        OSError: `model_dir` cannot be written.
        UserError: the existing folder is damaged.
    """
    listed = (path for path in sorted(staging.iterdir()) if path.name not in {MANIFEST_FILE, *EXPORT_FILE_NAMES})
    manifest = manifest.model_copy(update={"files": {path.name: file_sha256(path) for path in listed}})
    (staging / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")
    sha256 = file_sha256(staging / MANIFEST_FILE)
    if formats:
        write_exports(staging, sha256, formats)
    target = model_dir / sha256[:12]
    if not target.exists():
        with new_folder(target) as folder:
            for path in staging.iterdir():
                shutil.move(path, folder)
    shutil.rmtree(staging)
    return load_artifact(target)


def find_artifact(model_dir: Path, sha256: str) -> Artifact:
    """Load the artifact with this identity from a folder of artifacts, and verify it.

    Raises:
        UserError: the artifact is missing or damaged.
    """
    folder = model_dir / sha256[:12]
    # Unlike `is_dir`, this raises nothing where the folder of artifacts may not be searched.
    if not os.path.lexists(folder):
        raise UserError(f"{folder}: no artifact {sha256[:12]} here; CXR_MODEL_DIR must hold the model's folder")
    artifact = load_artifact(folder)
    if artifact.sha256 != sha256:
        raise UserError(f"{folder}: the artifact here is {artifact.sha256}, but the run needs {sha256}")
    return artifact


def _verify(path: Path, expected: str, named: Path) -> None:
    if (found := file_sha256(path)) != expected:
        raise UserError(f"{named}: damaged: the manifest says sha256 {expected}, the file has {found}; {INCOMPLETE}")


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hex, computed without reading all of it into memory.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
