"""The artifact's manifest: the findings a model scores, the pixels it expects, and the hashes of its files."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from db.errors import UserError
from db.findings import FINDINGS
from worker.images.preprocessing import Preprocessing

MANIFEST_FILE: Final = "manifest.json"
MODEL_FILE: Final = "model.keras"
SPLIT_FILE: Final = "split.csv"
_RESERVED_NAMES: Final = frozenset({"", ".", "..", MANIFEST_FILE})
#: What everything that shows a synthetic model says of it.
SYNTHETIC_NOTE: Final = "fitted on synthetic radiographs, so its scores of real ones mean nothing"
#: The key and the value in `about` that say that nobody knows which scans the model was fitted on.
FITTED_SCANS: Final = "fitted_scans"
UNKNOWN: Final = "unknown"
#: That of new models. Increased whenever an older program could misread a new manifest.
FORMAT_VERSION: Final = 2
#: What to do about an artifact of which a part is missing or damaged.
INCOMPLETE: Final = "wait until its copy is complete, copy it again, or remove it"
_PUBLISH_AGAIN: Final = "publish the model again or remove its folder"
#: What to do about a wrong field of a manifest; `content` is the whole of it.
_REMEDIES: Final = {"content": INCOMPLETE, "format_version": "another version of nightread wrote it: use that version"}


class Manifest(BaseModel):
    """The content of `manifest.json`. Unknown fields and versions are refused.

    Attributes:
        format_version: 1 has rule 1 of the pixels, and nothing of what came with 2; 2 has rule 2.
        name: the alias that people use; the identity is the artifact's hash.
        encoder: the name of the network's encoder.
        findings: the model's outputs, in order.
        preprocessing: how images become the model's pixels.
        batch_size: the number of scans scored at once, usually in one pass; short batches are padded.
        dataset: the dataset of the split's image names (the stem of the CSV that the model was fitted on).
        thresholds: thresholds by finding and by name (`best_f1`, `youden`, `sensitivity_90`), chosen on validation.
        temperatures: the divisor of each finding's logits; it is already part of the model, whose scores are
            calibrated.
        files: sha256 of each of the artifact's other files by name; names contain no folder.
        views: the views of the scans that the model was fitted on, such as `PA` and `AP`, as far as they are known.
        about: information for readers (seed, versions, validation figures) that scoring does not need.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1, 2] = 1
    name: str
    encoder: str = "densenet121"
    findings: tuple[str, ...]
    preprocessing: Preprocessing = Preprocessing()
    batch_size: int = Field(default=32, ge=1)
    dataset: str
    thresholds: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]] = {}
    temperatures: dict[str, float] = {}
    files: dict[str, str] = {}
    about: dict[str, str | int | float] = {}
    views: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether the model was fitted on drawn radiographs, which show no patient."""
        # Not a field: older workers refuse unknown fields, and score during an upgrade.
        return bool(self.about.get("synthetic"))

    @property
    def fitted_scans_unknown(self) -> bool:
        """Whether the model, or one that its fit began from, was fitted on scans that its split does not list."""
        # Not a field, for the same reason.
        return self.about.get(FITTED_SCANS) == UNKNOWN

    @field_validator("files")
    @classmethod
    def _check_file_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            # An error message would otherwise reveal the hash of any file of this machine.
            if name in _RESERVED_NAMES or set(name) & set("/\\") or not name.isprintable():
                raise ValueError(f"{name!r} is not the name of a file beside the manifest")
        return files

    @model_validator(mode="after")
    def _check_findings(self) -> "Manifest":
        unknown = [finding for finding in self.findings if finding not in FINDINGS]
        if unknown:
            raise ValueError(f"findings has {unknown[0]!r}, but this program knows {list(FINDINGS)}")
        if not self.findings or len(set(self.findings)) != len(self.findings):
            raise ValueError(f"findings are {list(self.findings)}; they must be one or more, and each named once")
        return self

    @model_validator(mode="after")
    def _check_format(self) -> "Manifest":
        if self.preprocessing.rule != self.format_version:
            raise ValueError(
                f"format_version {self.format_version} has preprocessing.rule {self.format_version}, and it is"
                f" {self.preprocessing.rule}"
            )
        if self.format_version == 1 and "views" in self.model_fields_set:
            raise ValueError("views is a field of format_version 2, and the version is 1")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; in format 1 those that it always had, so that its bytes stay as they were."""
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if self.format_version > 1 or name != "views"}


def read_manifest(folder: Path) -> Manifest:
    """Read and check a folder's manifest.

    Raises:
        UserError: the manifest is missing, not JSON, or of another format; the message names the file, the value found
            and the value expected.
    """
    return parse_manifest(read_manifest_bytes(folder), str(folder / MANIFEST_FILE))


def read_manifest_bytes(folder: Path) -> bytes:
    """Read a folder's manifest without checking it.

    Raises:
        UserError: the manifest is missing or cannot be read.
    """
    path = folder / MANIFEST_FILE
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: the manifest cannot be read ({error.strerror}); {INCOMPLETE}") from error
    except OSError as error:
        raise UserError(f"{path}: the manifest cannot be read ({error.strerror})") from error


def check_no_file_is_missing(manifest: Manifest, present: Container[str], folder: Path | str) -> None:
    """Check that a folder holds every file that its manifest lists.

    Args:
        manifest: the folder's manifest.
        present: the names of the files in the folder.
        folder: its path or S3 address, for the message.

    Raises:
        UserError: files are missing; the message names them.
    """
    if missing := [name for name in manifest.files if name not in present]:
        raise UserError(f"{folder}: lacks {', '.join(missing)}; {INCOMPLETE}")


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Parse and check the content of a manifest.

    Args:
        content: JSON.
        where: the path or S3 address that it was read from, for error messages.

    Raises:
        UserError: the content is not JSON, or of another format; the message names `where`, the value found and the
            value expected.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        # The name of an unknown field can be any text, so its control characters are escaped.
        field = ascii(".".join(map(str, first["loc"])))[1:-1] or "content"
        is_whole = first["type"] == "value_error"
        remedy = _PUBLISH_AGAIN if is_whole else _REMEDIES.get(field, _PUBLISH_AGAIN)
        raise UserError(f"{where}: {field:.80} is {first['input']!r:.200}: {first['msg']}; {remedy}") from error


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A published model on this machine's disk."""

    folder: Path
    #: sha256 of the manifest in hex, which identifies the model everywhere.
    sha256: str
    manifest: Manifest
