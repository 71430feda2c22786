"""What lies beside an artifact's own files: the same model for other runtimes, and how alike it is.

`trainer fit` and `trainer export` write it. It can be made again from the model, so it is no part of the artifact's
identity.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.errors import UserError

if TYPE_CHECKING:
    from worker.artifacts.manifest import Artifact


#: What arithmetic other than int8 is of.
Floats: TypeAlias = Literal["float32", "bfloat16"]


#: Written last: what it lists is there.
EXPORTS_FILE: Final = "exports.json"
ONNX_FILE: Final = "model.onnx"
OPENVINO_FILE: Final = "openvino.xml"
OPENVINO_INT8_FILE: Final = "openvino-int8.xml"
#: The format of workers that compute in int8.
INT8: Final = "openvino-int8"
#: Each format's files; OpenVINO keeps the weights beside the graph.
FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "onnx": (ONNX_FILE,),
    "openvino": (OPENVINO_FILE, "openvino.bin"),
    INT8: (OPENVINO_INT8_FILE, "openvino-int8.bin"),
}
#: Names that are no part of an artifact.
BESIDE: Final = frozenset({EXPORTS_FILE, *(file for files in FILES.values() for file in files)})


class Export(BaseModel):
    """One format.

    Attributes:
        runtime: which program checked it, with its version.
        precision: of the arithmetic in that check, and of the weights.
        files: sha256 of each file by name.
        max_difference: the largest absolute difference of any score from Keras' own.
        scans: real scans that it was checked on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    precision: Literal["float32"] = "float32"
    files: dict[str, str]
    max_difference: float
    scans: int


class Int8Export(BaseModel):
    """The format in which most of the arithmetic is of eight bits. Its scores are others; what that costs is bounded.

    Attributes:
        runtime: which program scored with it here, with its version.
        precision: of most of the arithmetic.
        rest: of all other arithmetic when it was judged; workers take bfloat16 where their CPU has it.
        quantizer: which program made it, with its version.
        calibrated_on: training scans that it took the ranges of numbers from.
        files: sha256 of each file by name.
        scans: validation scans that it was judged on, none of them of a training patient.
        patients: whose scans these are.
        findings: of which these scans have both classes; each AUROC is their mean.
        auroc_float32: of the float32 format.
        auroc_int8: of this one.
        loss_bound: the one-sided 95% bound of `auroc_float32 - auroc_int8`.
        resamples: draws of patients behind the bound.
        max_loss: the bound lies below it.
        max_difference: the largest absolute difference of any score from float32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    precision: Literal["int8"] = "int8"
    rest: Floats
    quantizer: str
    calibrated_on: int
    files: dict[str, str]
    scans: int
    patients: int
    findings: int
    auroc_float32: float
    auroc_int8: float
    loss_bound: float
    resamples: int
    max_loss: float
    max_difference: float


AnyExport: TypeAlias = Annotated[Export | Int8Export, Field(discriminator="precision")]


class Exports(BaseModel):
    """The content of `exports.json`.

    Attributes:
        model: sha256 of the artifact that was exported.
        formats: `onnx`, `openvino` and `openvino-int8`, those that there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    model: str
    formats: dict[str, AnyExport]


def write_exports(folder: Path, model: str, formats: Mapping[str, AnyExport]) -> Exports:
    """List what lies in a folder of the model with this sha256."""
    exports = Exports(model=model, formats=dict(formats))
    (folder / EXPORTS_FILE).write_text(exports.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return exports


def read_format(artifact: "Artifact", name: str) -> dict[str, bytes]:
    """A format's files by name, each the one that was checked.

    Raises:
        UserError: the artifact was not exported to it, a file cannot be read, or is another.
    """
    exports = read_exports(artifact)
    if name not in exports.formats:
        raise UserError(f"{artifact.folder}: was not exported to {name}; {_command(name)} does it")
    files = {file: _bytes_of(artifact, file) for file in FILES[name]}
    for file, content in files.items():
        expected, found = exports.formats[name].files.get(file), hashlib.sha256(content).hexdigest()
        if found != expected:
            raise UserError(f"{artifact.folder / file}: {EXPORTS_FILE} says sha256 {expected}, the file has {found}")
    return files


def read_exports(artifact: "Artifact") -> Exports:
    """What lies beside an artifact for other runtimes.

    Raises:
        UserError: it was never exported, or the list is damaged or another model's.
    """
    path = artifact.folder / EXPORTS_FILE
    if not path.exists():
        raise UserError(f"{artifact.folder}: was never exported; 'trainer export' does it")
    try:
        exports = Exports.model_validate_json(_bytes_of(artifact, EXPORTS_FILE))
    except ValidationError as error:
        raise UserError(f"{path}: not what 'trainer export' writes: {error.errors()[0]['msg']}") from error
    if exports.model != artifact.sha256:
        raise UserError(f"{path}: made from model {exports.model[:12]}, beside model {artifact.sha256[:12]}")
    return exports


def _command(name: str) -> str:
    return "'trainer export --int8'" if name == INT8 else "'trainer export'"


def _bytes_of(artifact: "Artifact", file: str) -> bytes:
    try:
        return (artifact.folder / file).read_bytes()
    except OSError as error:
        raise UserError(f"{artifact.folder / file}: cannot be read ({error.strerror})") from error
