"""What a model store holds: whole artifacts, and folders that cannot be used, each with the reason.

A folder that is broken, half-copied, misnamed or unreadable hides no other one.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ValidationError

from db.errors import UserError
from worker.artifacts.manifest import MANIFEST_FILE, Manifest, parse_manifest
from worker.entry_point import printable

_IDENTITY: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class StoredFolder:
    """A folder of a store that holds an artifact, or should."""

    #: Path or S3 address.
    address: str
    #: Reads the manifest's bytes; raises `UserError`.
    read_manifest: Callable[[], bytes]

    @property
    def name(self) -> str:
        """The folder's name in the store."""
        return self.address.rpartition("/")[2]

    @property
    def manifest(self) -> str:
        """The manifest's path or S3 address."""
        return f"{self.address}/{MANIFEST_FILE}"


@dataclass(frozen=True, kw_only=True)
class UnusableFolder:
    """A folder of a store whose artifact cannot be used.

    Attributes:
        name: the folder's name in the store.
        model: the model's name; None if the manifest does not tell.
        problem: one printable sentence with the place, the cause and the remedy.
    """

    name: str
    model: str | None
    problem: str

    def is_called(self, wanted: str) -> bool:
        """Whether a person who asks for this model name or hash (12 digits or more) means this folder."""
        return wanted == self.model or wanted[:12] == self.name


@dataclass(frozen=True, kw_only=True)
class StoreContents:
    """The folders of a store, the oldest first. Of whole artifacts only the manifest was read."""

    #: By the artifact's sha256.
    manifests: dict[str, Manifest] = field(default_factory=dict)
    unusable: list[UnusableFolder] = field(default_factory=list)


def should_hold_artifact(folder_name: str) -> bool:
    """Whether a folder without a manifest is an incomplete artifact, by its name; any other one is not a model."""
    return _IDENTITY.fullmatch(folder_name) is not None


def read_contents(folders: Iterable[StoredFolder]) -> StoreContents:
    """Read the manifest of every folder, the oldest first."""
    contents = StoreContents()
    for folder in folders:
        content = b""
        try:
            content = folder.read_manifest()
            manifest, sha256 = parse_manifest(content, folder.manifest), hashlib.sha256(content).hexdigest()
            _check_folder_name(folder, sha256)
            contents.manifests[sha256] = manifest
        except UserError as error:
            contents.unusable.append(unusable_folder(folder.address, _read_model_name(content), error))
    return contents


def unusable_folder(address: str, model: str | None, error: Exception) -> UnusableFolder:
    """The folder at this path or S3 address, and the error's sentence as its problem."""
    sentence = str(error) if address in str(error) else f"{address}: {error}"
    return UnusableFolder(name=address.rpartition("/")[2], model=model, problem=printable(sentence))


def check_usable(wanted: str | None, unusable: Iterable[UnusableFolder]) -> None:
    """Check that a person who asks for this model name or hash does not mean a folder that cannot be used.

    Args:
        wanted: None means any model.
        unusable: the folders that cannot be used.

    Raises:
        UserError: the folder's problem.
    """
    for folder in unusable:
        if wanted is None or folder.is_called(wanted):
            raise UserError(folder.problem)


def _check_folder_name(folder: StoredFolder, sha256: str) -> None:
    if (expected := sha256[:12]) != folder.name:
        raise UserError(
            f"{folder.address}: holds artifact {expected}, which is looked for in a folder of that name; rename this "
            f"folder to {expected}, or remove it if there is one"
        )


class _Named(BaseModel):
    """The one field that is of use in a manifest of another format."""

    name: str


def _read_model_name(manifest: bytes) -> str | None:
    try:
        return _Named.model_validate_json(manifest).name
    except ValidationError:
        return None
