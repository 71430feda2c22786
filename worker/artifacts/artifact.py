"""The artifact: a folder with `manifest.json`, `model.keras` and `split.csv`, named by what it holds.

Its identity is the sha256 of the manifest, which in turn holds the sha256 of every other file: one
changed byte anywhere is another artifact, or a damaged one.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from db.errors import UserError
from worker.artifacts.exports import BESIDE, Export, write_exports
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE, Artifact, Manifest, read_manifest
from worker.files import new_folder


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact and verify every file against the manifest.

    Raises:
        UserError: a file is absent or damaged; both hashes are named. Or the manifest does not vouch for the model.
    """
    manifest = read_manifest(folder)
    if MODEL_FILE not in manifest.files:
        raise UserError(f"{folder / MANIFEST_FILE}: does not list {MODEL_FILE}: any bytes could be in its place")
    for name, expected in manifest.files.items():
        _verify(folder / name, expected, folder / name)
    return Artifact(folder=folder, sha256=file_sha256(folder / MANIFEST_FILE), manifest=manifest)


@contextmanager
def own_copy(artifact: Artifact, name: str) -> Iterator[Path]:
    """A copy of one of an artifact's files, verified, that nobody changes between a look at its hash and its use.

    Raises:
        UserError: the file was damaged since the artifact was verified, or there is no room for a copy.
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
    """Seal `staging` with a manifest and move it to `model_dir/<first 12 of its sha256>`, whole or not at all.

    Publishing the same bytes twice is harmless: the folder that is there already wins.

    Args:
        staging: a folder, used up.
        model_dir: where the artifact goes.
        manifest: all of it but the files.
        formats: what lies in `staging` for other runtimes.
    """
    sealed = (path for path in sorted(staging.iterdir()) if path.name not in {MANIFEST_FILE, *BESIDE})
    manifest = manifest.model_copy(update={"files": {path.name: file_sha256(path) for path in sealed}})
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
    """The artifact with this identity in a model folder.

    Raises:
        UserError: it is not there, or is damaged.
    """
    folder = model_dir / sha256[:12]
    if not folder.is_dir():
        raise UserError(f"{folder}: no artifact {sha256[:12]} here; CXR_MODEL_DIR must hold the model's folder")
    artifact = load_artifact(folder)
    if artifact.sha256 != sha256:
        raise UserError(f"{folder}: this artifact is {artifact.sha256}, the run wants {sha256}")
    return artifact


def _verify(path: Path, expected: str, named: Path) -> None:
    if (found := file_sha256(path)) != expected:
        raise UserError(f"{named}: damaged: the manifest says sha256 {expected}, the file has {found}")


def file_sha256(path: Path) -> str:
    """sha256 of a file in hex, read in pieces.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
