"""`CXR_MODEL_DIR`: where artifacts are published and found, a folder or an S3 prefix."""

import hashlib
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from db.errors import PermanentError, TemporaryError, UserError
from worker.artifacts.artifact import file_sha256, find_artifact, publish
from worker.artifacts.exports import Export
from worker.artifacts.local_copies import LocalCopies
from worker.artifacts.manifest import MANIFEST_FILE, Artifact, Manifest, parse_manifest, read_manifest
from worker.files import open_atomically
from worker.storage.s3 import SCHEME, list_objects, read_object, write_object

Formats: TypeAlias = Mapping[str, Export]

_NO_FORMATS: Final[Formats] = MappingProxyType({})
#: How long a file of an artifact may take to arrive from S3.
_SECONDS: Final = 600.0


class ModelStore(Protocol):
    """A place of published artifacts. Every method raises `UserError` where it cannot be read or written."""

    #: As a person named it.
    address: str

    def manifests(self) -> dict[str, Manifest]:
        """Of every artifact here by the artifact's sha256, the oldest first; no other file is looked at."""

    def find(self, sha256: str) -> Artifact:
        """The artifact with this identity on this machine's disk, every file verified."""

    def publish(self, staging: Path, manifest: Manifest, formats: Formats = _NO_FORMATS) -> Artifact:
        """Seal a folder with a manifest and publish it, whole or not at all; the folder is used up.

        `formats` is what lies in it for other runtimes.
        """

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """Put a folder's files beside an artifact's own, the one that lists the others last."""


def open_model_store(address: str, home: Path) -> ModelStore:
    """The place at this address; `home` keeps what is fetched from S3, or from a folder outside it."""
    if address.startswith(SCHEME):
        return S3ModelStore(address, home / "fetched-models")
    folder = Path(address)
    if folder.resolve().is_relative_to(home.resolve()):
        return FolderModelStore(folder)
    return SharedModelStore(folder, home / "fetched-models")


def find_by_name(wanted: str, models: ModelStore) -> Artifact:
    """The artifact with this name, or this hash (whole, or its first 12 characters).

    Raises:
        UserError: there is none, or more than one.
    """
    known = {sha256: manifest.name for sha256, manifest in models.manifests().items()}
    found = [sha256 for sha256, name in known.items() if wanted in (name, sha256, sha256[:12])]
    if len(found) != 1:
        names = ", ".join(f"{name} ({sha256[:12]})" for sha256, name in known.items()) or "no artifact"
        raise UserError(f"--model {wanted!r} fits {len(found)} artifacts; {models.address} holds {names}")
    return models.find(found[0])


def all_artifacts(models: ModelStore, but: Container[str] = ()) -> list[Artifact]:
    """Every artifact of a place except those known already, the oldest first, each verified.

    Raises:
        UserError: one is damaged, or the place cannot be read.
    """
    return [models.find(sha256) for sha256 in models.manifests() if sha256 not in but]


class FolderModelStore:
    """Artifacts in a folder, each in one of its own."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        self.folder = folder

    def manifests(self) -> dict[str, Manifest]:
        """See `ModelStore`."""
        found = self.folder.glob(f"*/{MANIFEST_FILE}") if self.folder.is_dir() else ()
        published = [path for path in found if not path.parent.name.startswith(".")]
        published.sort(key=lambda path: (path.stat().st_mtime, path))
        return {file_sha256(path): read_manifest(path.parent) for path in published}

    def find(self, sha256: str) -> Artifact:
        """See `ModelStore`."""
        return find_artifact(self.folder, sha256)

    def publish(self, staging: Path, manifest: Manifest, formats: Formats = _NO_FORMATS) -> Artifact:
        """See `ModelStore`."""
        try:
            return publish(staging, self.folder, manifest, formats)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written ({error.strerror})") from error

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """See `ModelStore`."""
        target = self.folder / artifact.sha256[:12]
        try:
            for path in _with_last(folder, last):
                with path.open("rb") as source, open_atomically(target / path.name) as file:
                    shutil.copyfileobj(source, file)
        except OSError as error:
            raise UserError(f"{target}: cannot be written ({error.strerror})") from error


class SharedModelStore(FolderModelStore):
    """A folder that other machines write to: workers score from a copy, whatever becomes of the folder."""

    def __init__(self, folder: Path, kept: Path) -> None:
        """`kept` is the folder of artifacts that were fetched."""
        super().__init__(folder)
        self._kept = FolderModelStore(kept)
        self._cache = LocalCopies(kept)

    def find(self, sha256: str) -> Artifact:
        """See `ModelStore`. What was fetched before, and is whole, is not fetched again."""
        return self._cache.find(sha256, lambda arriving: self._copy(sha256, arriving))

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """See `ModelStore`."""
        super().add(artifact, folder, last=last)
        self._kept.add(artifact, folder, last=last)

    def _copy(self, sha256: str, arriving: Path) -> None:
        # Verified there, so that a sentence about damage names the place that can be mended.
        there = super().find(sha256).folder
        try:
            for path in there.glob("[!.]*"):
                shutil.copyfile(path, arriving / path.name)
        except OSError as error:
            raise UserError(f"{there}: cannot be fetched to {arriving.parent} ({error.strerror})") from error


class S3ModelStore:
    """Artifacts under an S3 prefix. A manifest goes up last: one that can be seen has all its files."""

    def __init__(self, address: str, kept: Path) -> None:
        """`kept` is the folder of artifacts that were fetched."""
        self.address = SCHEME + address.removeprefix(SCHEME).rstrip("/")
        self._kept = FolderModelStore(kept)
        self._cache = LocalCopies(kept)

    def manifests(self) -> dict[str, Manifest]:
        """See `ModelStore`."""
        published = [found for found in list_objects(self.address) if _is_manifest(found.name)]
        published.sort(key=lambda found: (found.modified, found.name))
        contents = [(found.location, _read(found.location)) for found in published]
        return {hashlib.sha256(content).hexdigest(): parse_manifest(content, where) for where, content in contents}

    def find(self, sha256: str) -> Artifact:
        """See `ModelStore`. What was fetched before, and is whole, is not fetched again."""
        return self._cache.find(sha256, lambda arriving: self._fetch(sha256, arriving))

    def publish(self, staging: Path, manifest: Manifest, formats: Formats = _NO_FORMATS) -> Artifact:
        """See `ModelStore`."""
        artifact = self._kept.publish(staging, manifest, formats)
        for path in _with_last(artifact.folder, MANIFEST_FILE):
            write_object(self._location(artifact.sha256, path.name), path)
        return artifact

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """See `ModelStore`."""
        for path in _with_last(folder, last):
            write_object(self._location(artifact.sha256, path.name), path)
        self._kept.add(artifact, folder, last=last)

    def _location(self, sha256: str, name: str) -> str:
        return f"{self.address}/{sha256[:12]}/{name}"

    def _fetch(self, sha256: str, arriving: Path) -> None:
        """Everything that lies beside the manifest, exports too."""
        for found in list_objects(self._location(sha256, "")):
            (arriving / Path(found.name).name).write_bytes(_read(found.location))
        if not (arriving / MANIFEST_FILE).exists():
            raise UserError(f"{self.address}: no artifact {sha256[:12]} here; CXR_MODEL_DIR must hold the model")


def _with_last(folder: Path, last: str) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name))


def _is_manifest(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file == MANIFEST_FILE and bool(folder) and "/" not in folder


def _read(location: str) -> bytes:
    try:
        return read_object(location, _SECONDS)[0]
    except (PermanentError, TemporaryError) as error:
        raise UserError(f"{location}: cannot be read: {error}") from error
