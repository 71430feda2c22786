"""The artifact's manifest: what a model scores, what pixels it expects, and what its files hash to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from db.errors import UserError
from db.findings import FINDINGS
from worker.images.preprocessing import Preprocessing

MANIFEST_FILE: Final = "manifest.json"
MODEL_FILE: Final = "model.keras"
SPLIT_FILE: Final = "split.csv"
_NO_FILES: Final = frozenset({"", ".", "..", MANIFEST_FILE})
#: Raised when a reader of an older version could misread a manifest.
FORMAT_VERSION: Final = 1


class Manifest(BaseModel):
    """The JSON beside a model. An unknown field or version is refused, never guessed at.

    Attributes:
        name: the alias a person uses; the identity is the artifact's hash.
        findings: the model's outputs, in order.
        batch_size: scans that are scored at once, in passes of one size: as a rule one pass; short ones are padded.
        thresholds: finding to names (`best_f1`, `youden`, `sensitivity_90`) to thresholds, chosen on validation.
        temperatures: finding to what its logits were divided by; the model's own scores are so calibrated already.
        files: sha256 of each file of the artifact but this one; names of one part, so that none lies elsewhere.
        dataset: the dataset its split speaks of (the stem of the CSV that it was fitted on).
        about: what a reader may want to know (seed, versions, validation figures); never needed to score.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    name: str
    encoder: str = "densenet121"
    findings: tuple[str, ...]
    preprocessing: Preprocessing = Preprocessing()
    batch_size: int = Field(default=32, ge=1)
    dataset: str
    thresholds: dict[str, dict[str, float]] = {}
    temperatures: dict[str, float] = {}
    files: dict[str, str] = {}
    about: dict[str, str | int | float] = {}

    @field_validator("files")
    @classmethod
    def _lie_beside_it(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            # Its hash would be said in a sentence.
            if name in _NO_FILES or set(name) & set("/\\") or not name.isprintable():
                raise ValueError(f"{name!r} is not the name of a file beside the manifest")
        return files

    @model_validator(mode="after")
    def _findings_are_ours(self) -> "Manifest":
        unknown = [finding for finding in self.findings if finding not in FINDINGS]
        if unknown or not self.findings or len(set(self.findings)) != len(self.findings):
            raise ValueError(f"its findings are {list(self.findings)}, this program knows {list(FINDINGS)}")
        return self


def read_manifest(folder: Path) -> Manifest:
    """Read and check a folder's manifest.

    Raises:
        UserError: absent, not JSON, or of another format; names the file and both values.
    """
    path = folder / MANIFEST_FILE
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path}: no readable manifest here ({error.strerror})") from error


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Check a manifest's bytes, which came from `where`.

    Raises:
        UserError: not JSON, or of another format; names the place and both values.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        # A field that is unknown has a name of the writer's choice.
        field = ascii(".".join(map(str, first["loc"])))[1:-1] or "content"
        raise UserError(f"{where}: {field:.80} is {first['input']!r:.200}: {first['msg']}") from error


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A published model on this machine's disk."""

    folder: Path
    #: sha256 of the manifest, in hex: the model's identity everywhere.
    sha256: str
    manifest: Manifest
