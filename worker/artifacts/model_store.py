"""The model store that `CXR_MODEL_DIR` names: artifacts are published to and found in a folder or an S3 prefix."""

import hashlib
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from db.errors import PermanentError, TemporaryError, UserError
from worker.artifacts.artifact import file_sha256, find_artifact, publish
from worker.artifacts.exports import EXPORTS_FILE, Export, Exports, parse_exports
from worker.artifacts.local_copies import LocalCopies
from worker.artifacts.manifest import MANIFEST_FILE, Artifact, Manifest, parse_manifest, read_manifest
from worker.files import open_atomically
from worker.storage.s3 import SCHEME, list_objects, read_object, write_object

Formats: TypeAlias = Mapping[str, Export]

_NO_FORMATS: Final[Formats] = MappingProxyType({})
#: Time limit for reading one file of an artifact from S3.
_READ_TIMEOUT_SECONDS: Final = 600.0


class ModelStore(Protocol):
    """A store of published artifacts. Every method raises `UserError` if the store cannot be read or written."""

    #: The folder or S3 address, for messages.
    address: str

    def manifests(self) -> dict[str, Manifest]:
        """The manifest of every artifact by the artifact's sha256, the oldest first. No other file is read."""

    def find(self, sha256: str) -> Artifact:
        """The artifact with this identity on this machine's disk, with every file verified."""

    def exports(self, sha256: str) -> Exports:
        """The list of an artifact's exports as it is in the store now: no local copy of it is read."""

    def publish(self, staging: Path, manifest: Manifest, formats: Formats = _NO_FORMATS) -> Artifact:
        """Write the manifest into a folder and publish the folder, completely or not at all.

        Args:
            staging: the folder that becomes the artifact; it is gone afterwards.
            manifest: the manifest without its `files`.
            formats: the exports in `staging` by their formats' names.
        """

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """Copy a folder's files beside an artifact's own; the file named `last`, which lists the others, goes last."""


def open_model_store(address: str, home: Path) -> ModelStore:
    """Open the store at a folder or S3 address; copies from S3, or from a folder outside `home`, are kept in `home`."""
    if address.startswith(SCHEME):
        return S3ModelStore(address, home / "fetched-models")
    folder = Path(address)
    if folder.resolve().is_relative_to(home.resolve()):
        return FolderModelStore(folder)
    return SharedModelStore(folder, home / "fetched-models")


def find_by_name(wanted: str, models: ModelStore) -> Artifact:
    """The artifact with this name or this sha256 (all of it, or its first 12 digits).

    Raises:
        UserError: the store has no such artifact, or more than one.
    """
    known = {sha256: manifest.name for sha256, manifest in models.manifests().items()}
    found = [sha256 for sha256, name in known.items() if wanted in (name, sha256, sha256[:12])]
    if len(found) != 1:
        names = ", ".join(f"{name} ({sha256[:12]})" for sha256, name in known.items()) or "no artifact"
        raise UserError(f"--model {wanted!r} matches {len(found)} artifacts; {models.address} holds {names}")
    return models.find(found[0])


def load_new_artifacts(models: ModelStore, known: Container[str]) -> list[Artifact]:
    """Every artifact of a store whose sha256 is not among the known ones, the oldest first, each verified.

    Raises:
        UserError: an artifact is damaged, or the store cannot be read.
    """
    return [models.find(sha256) for sha256 in models.manifests() if sha256 not in known]


class FolderModelStore:
    """Artifacts in a local folder, each in a subfolder."""

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

    def exports(self, sha256: str) -> Exports:
        """See `ModelStore`."""
        path = self.folder / sha256[:12] / EXPORTS_FILE
        try:
            return parse_exports(path.read_bytes(), sha256, str(path))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); 'trainer export' writes it") from error

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
            for path in _sorted_with_last(folder, last):
                with path.open("rb") as source, open_atomically(target / path.name) as file:
                    shutil.copyfileobj(source, file)
        except OSError as error:
            raise UserError(f"{target}: cannot be written ({error.strerror})") from error


class SharedModelStore(FolderModelStore):
    """Artifacts in a folder that machines share. Workers score from a local copy, so they survive its loss."""

    def __init__(self, folder: Path, local_folder: Path) -> None:
        """Local copies are kept in `local_folder`."""
        super().__init__(folder)
        self._local_store = FolderModelStore(local_folder)
        self._local_copies = LocalCopies(local_folder)

    def find(self, sha256: str) -> Artifact:
        """See `ModelStore`. An intact local copy is used without fetching it again."""
        return self._local_copies.find(sha256, lambda incoming: self._copy(sha256, incoming))

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """See `ModelStore`."""
        super().add(artifact, folder, last=last)
        self._local_store.add(artifact, folder, last=last)

    def _copy(self, sha256: str, incoming: Path) -> None:
        # Verified before copying, so that an error about damage names the shared file that must be replaced.
        shared = super().find(sha256).folder
        try:
            for path in shared.glob("[!.]*"):
                shutil.copyfile(path, incoming / path.name)
        except OSError as error:
            raise UserError(f"{shared}: cannot be copied to {incoming.parent} ({error.strerror})") from error


class S3ModelStore:
    """Artifacts under an S3 prefix. The manifest is uploaded last, so a visible artifact has all its files."""

    def __init__(self, address: str, local_folder: Path) -> None:
        """Local copies are kept in `local_folder`."""
        self.address = SCHEME + address.removeprefix(SCHEME).rstrip("/")
        self._local_store = FolderModelStore(local_folder)
        self._local_copies = LocalCopies(local_folder)

    def manifests(self) -> dict[str, Manifest]:
        """See `ModelStore`."""
        published = [found for found in list_objects(self.address) if _is_manifest(found.name)]
        published.sort(key=lambda found: (found.modified, found.name))
        contents = [(found.location, _read(found.location)) for found in published]
        return {hashlib.sha256(content).hexdigest(): parse_manifest(content, where) for where, content in contents}

    def find(self, sha256: str) -> Artifact:
        """See `ModelStore`. An intact local copy is used without fetching it again."""
        return self._local_copies.find(sha256, lambda incoming: self._fetch(sha256, incoming))

    def exports(self, sha256: str) -> Exports:
        """See `ModelStore`."""
        location = self._location(sha256, EXPORTS_FILE)
        return parse_exports(_read(location), sha256, location)

    def publish(self, staging: Path, manifest: Manifest, formats: Formats = _NO_FORMATS) -> Artifact:
        """See `ModelStore`."""
        artifact = self._local_store.publish(staging, manifest, formats)
        for path in _sorted_with_last(artifact.folder, MANIFEST_FILE):
            write_object(self._location(artifact.sha256, path.name), path)
        return artifact

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """See `ModelStore`."""
        for path in _sorted_with_last(folder, last):
            write_object(self._location(artifact.sha256, path.name), path)
        self._local_store.add(artifact, folder, last=last)

    def _location(self, sha256: str, name: str) -> str:
        return f"{self.address}/{sha256[:12]}/{name}"

    def _fetch(self, sha256: str, incoming: Path) -> None:
        """Download every file of the artifact, its exports included."""
        for found in list_objects(self._location(sha256, "")):
            (incoming / Path(found.name).name).write_bytes(_read(found.location))
        if not (incoming / MANIFEST_FILE).exists():
            raise UserError(f"{self.address}: no artifact {sha256[:12]} here; CXR_MODEL_DIR must hold the model")


def _sorted_with_last(folder: Path, last: str) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name))


def _is_manifest(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file == MANIFEST_FILE and bool(folder) and "/" not in folder


def _read(location: str) -> bytes:
    try:
        return read_object(location, _READ_TIMEOUT_SECONDS)[0]
    except (PermanentError, TemporaryError) as error:
        raise UserError(f"{location}: cannot be read: {error}") from error
