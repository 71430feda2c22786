"""The model store that `CXR_MODEL_DIR` names: artifacts are published to and found in a folder or an S3 prefix."""

import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from db.errors import PermanentError, TemporaryError, UserError
from worker.artifacts.artifact import find_artifact, publish
from worker.artifacts.exports import EXPORTS_FILE, Export, Exports, parse_exports
from worker.artifacts.local_copies import LocalCopies
from worker.artifacts.manifest import (
    MANIFEST_FILE,
    Artifact,
    Manifest,
    check_no_file_is_missing,
    parse_manifest,
    read_manifest_bytes,
)
from worker.artifacts.store_contents import (
    StoreContents,
    StoredFolder,
    check_usable,
    read_contents,
    should_hold_artifact,
)
from worker.files import new_folder, open_atomically
from worker.storage.s3 import SCHEME, delete_object, list_objects, read_object, write_object

Formats: TypeAlias = Mapping[str, Export]

_NO_FORMATS: Final[Formats] = MappingProxyType({})
#: Time limit for reading one file of an artifact from S3.
_READ_TIMEOUT_SECONDS: Final = 600.0


class ModelStore(Protocol):
    """A store of published artifacts. Every method raises `UserError` if the store cannot be read or written."""

    #: The folder or S3 address, for messages.
    address: str

    def contents(self) -> StoreContents:
        """The artifacts, and the folders that cannot be used. Only manifests are read."""

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

    def copy_in(self, artifact: Artifact) -> None:
        """Copy an artifact of another place into the store, byte for byte, with its exports; all of it or nothing."""

    def remove(self, sha256: str) -> None:
        """Delete an artifact and this machine's copy of it; one that is not there is no error."""


def open_model_store(address: str, home: Path) -> ModelStore:
    """Open the store at a folder or S3 address; copies from S3, or from a folder outside `home`, are kept in `home`."""
    if address.startswith(SCHEME):
        return S3ModelStore(address, home / "fetched-models")
    folder = Path(address)
    if folder.resolve().is_relative_to(home.resolve()):
        return FolderModelStore(folder)
    return SharedModelStore(folder, home / "fetched-models")


def find_by_name(wanted: str, models: ModelStore, *, flag: str = "--model", others: str = "") -> Artifact:
    """The artifact with this name or this sha256 (all of it, or its first 12 digits).

    Args:
        wanted: the name or hash.
        models: the store that is searched.
        flag: which a person gave it with, for messages.
        others: what else that flag takes, for messages.

    Raises:
        UserError: the store has no such artifact, or more than one, or its folder cannot be used.
    """
    contents = models.contents()
    known = {sha256: manifest.name for sha256, manifest in contents.manifests.items()}
    found = [sha256 for sha256, name in known.items() if wanted in (name, sha256, sha256[:12])]
    if not found:
        check_usable(wanted, contents.unusable)
    if len(found) != 1:
        names = ", ".join(f"{name} ({sha256[:12]})" for sha256, name in known.items()) or "no artifact"
        raise UserError(f"{flag} {wanted!r} matches {len(found)} artifacts; {models.address} holds {names}{others}")
    return models.find(found[0])


class FolderModelStore:
    """Artifacts in a local folder, each in a subfolder."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        self.folder = folder

    def contents(self) -> StoreContents:
        """See `ModelStore`."""
        folders = sorted(self._list(), key=lambda folder: (_published_at(folder), folder))
        return read_contents(
            StoredFolder(address=str(folder), read_manifest=partial(read_manifest_bytes, folder)) for folder in folders
        )

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

    def _list(self) -> list[Path]:
        try:
            entries = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be listed ({error.strerror})") from error
        # Unlike `exists`, this raises nothing where a folder may not be searched.
        return [path for path in entries if should_hold_artifact(path.name) or os.path.lexists(path / MANIFEST_FILE)]

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

    def copy_in(self, artifact: Artifact) -> None:
        """See `ModelStore`."""
        target = self.folder / artifact.sha256[:12]
        try:
            with new_folder(target) as folder:
                _copy_files(artifact.folder, folder)
        except OSError as error:
            raise UserError(f"{target}: {artifact.folder} cannot be copied here ({error.strerror})") from error

    def remove(self, sha256: str) -> None:
        """See `ModelStore`."""
        folder = self.folder / sha256[:12]
        # Hidden first: half of an artifact would be taken for one that is still being copied.
        hidden = self.folder / f".{sha256[:12]}.removed"
        try:
            if folder.is_dir():
                shutil.rmtree(hidden, ignore_errors=True)
                folder.rename(hidden)
            if hidden.is_dir():
                shutil.rmtree(hidden)
        except OSError as error:
            raise UserError(f"{folder}: cannot be deleted ({error.strerror})") from error


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
        if (self._local_store.folder / artifact.sha256[:12]).is_dir():
            self._local_store.add(artifact, folder, last=last)

    def remove(self, sha256: str) -> None:
        """See `ModelStore`."""
        super().remove(sha256)
        self._local_store.remove(sha256)

    def _copy(self, sha256: str, incoming: Path) -> None:
        # Verified before copying, so that an error about damage names the shared file that must be replaced.
        shared = super().find(sha256).folder
        try:
            _copy_files(shared, incoming)
        except OSError as error:
            raise UserError(f"{shared}: cannot be copied to {incoming.parent} ({error.strerror})") from error


class S3ModelStore:
    """Artifacts under an S3 prefix. The manifest is uploaded last, so a visible artifact has all its files."""

    def __init__(self, address: str, local_folder: Path) -> None:
        """Local copies are kept in `local_folder`."""
        self.address = SCHEME + address.removeprefix(SCHEME).rstrip("/")
        self._local_store = FolderModelStore(local_folder)
        self._local_copies = LocalCopies(local_folder)

    def contents(self) -> StoreContents:
        """See `ModelStore`."""
        published = self._list()
        return read_contents(
            StoredFolder(
                address=self._location(name), read_manifest=partial(_read, self._location(name, MANIFEST_FILE))
            )
            for name in sorted(published, key=lambda name: (published[name], name))
        )

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
        self.copy_in(artifact)
        return artifact

    def add(self, artifact: Artifact, folder: Path, *, last: str) -> None:
        """See `ModelStore`."""
        for path in _sorted_with_last(folder, last):
            write_object(self._location(artifact.sha256[:12], path.name), path)
        self._local_store.add(artifact, folder, last=last)

    def copy_in(self, artifact: Artifact) -> None:
        """See `ModelStore`."""
        for path in _sorted_with_last(artifact.folder, MANIFEST_FILE):
            write_object(self._location(artifact.sha256[:12], path.name), path)

    def remove(self, sha256: str) -> None:
        """See `ModelStore`."""
        objects = [found.location for found in list_objects(self._location(sha256[:12]))]
        # The manifest goes first: without it, nobody fetches what is left.
        for location in sorted(objects, key=lambda location: not location.endswith(f"/{MANIFEST_FILE}")):
            delete_object(location)
        self._local_store.remove(sha256)

    def _list(self) -> dict[str, datetime]:
        """When each folder was published, by its name; one without a manifest is a part of an artifact."""
        published: dict[str, datetime] = {}
        for found in list_objects(self.address):
            folder, _, file = found.name.partition("/")
            is_part = file != "" and folder not in published and should_hold_artifact(folder)
            if folder and (file == MANIFEST_FILE or is_part):
                published[folder] = found.modified
        return published

    def _location(self, *names: str) -> str:
        return "/".join((self.address, *names))

    def _fetch(self, sha256: str, incoming: Path) -> None:
        """Download every file of the artifact, its exports included."""
        address = self._location(sha256[:12])
        # Consoles and copy tools mark a folder by an empty object of its name; artifacts have no folders.
        files = {found.name: found.location for found in list_objects(address) if found.name and "/" not in found.name}
        if MANIFEST_FILE not in files:
            raise UserError(f"{self.address}: no artifact {sha256[:12]} here; CXR_MODEL_DIR must hold the model")
        # Before anything is downloaded: other files may still be on their way to the store.
        check_no_file_is_missing(parse_manifest(_read(files[MANIFEST_FILE]), files[MANIFEST_FILE]), files, address)
        for name, location in files.items():
            (incoming / name).write_bytes(_read(location))


def _files(folder: Path) -> list[Path]:
    """The files of an artifact's folder; hidden ones and folders are no part of it."""
    return [path for path in folder.glob("[!.]*") if path.is_file()]


def _copy_files(source: Path, target: Path) -> None:
    for path in _files(source):
        shutil.copyfile(path, target / path.name)


def _sorted_with_last(folder: Path, last: str) -> list[Path]:
    return sorted(_files(folder), key=lambda path: (path.name == last, path.name))


def _published_at(folder: Path) -> float:
    """When the folder's manifest was written, in seconds since 1970; 0 if nobody can tell."""
    try:
        return (folder / MANIFEST_FILE).stat().st_mtime
    except OSError:
        return 0.0


def _read(location: str) -> bytes:
    try:
        return read_object(location, _READ_TIMEOUT_SECONDS)
    except (PermanentError, TemporaryError) as error:
        raise UserError(f"{location}: cannot be read: {error}") from error
