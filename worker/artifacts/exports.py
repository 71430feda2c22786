"""An artifact's exports: the same model in the formats of other runtimes, with the measured difference of its scores.

`trainer fit` and `trainer export` write them beside the artifact's own files. They can be regenerated from the model,
so they are not part of the artifact's identity. The ledger notes the hash of each export when it first sees it.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.errors import UserError
from worker.artifacts.manifest import Artifact

#: Floating-point types that a model can be computed in.
FloatPrecision: TypeAlias = Literal["float32", "bfloat16"]
#: Called with a format and the `export_sha256` of its files before they are loaded; a `UserError` refuses them.
ExportCheck: TypeAlias = Callable[[str, str], None]

#: The list of exports. It is written last, so every file that it lists exists.
EXPORTS_FILE: Final = "exports.json"
ONNX_FILE: Final = "model.onnx"
OPENVINO_FILE: Final = "openvino.xml"
OPENVINO_INT8_FILE: Final = "openvino-int8.xml"
#: The format for workers that compute in int8.
INT8: Final = "openvino-int8"
#: File names by format; OpenVINO needs the graph first and then the weights.
FILES_BY_FORMAT: Final[Mapping[str, tuple[str, ...]]] = {
    "onnx": (ONNX_FILE,),
    "openvino": (OPENVINO_FILE, "openvino.bin"),
    INT8: (OPENVINO_INT8_FILE, "openvino-int8.bin"),
}
#: Names of files that do not count towards an artifact's identity.
EXPORT_FILE_NAMES: Final = frozenset({EXPORTS_FILE, *(file for files in FILES_BY_FORMAT.values() for file in files)})


class Export(BaseModel):
    """A format in float32 whose scores were compared with Keras'.

    Attributes:
        runtime: the program that checked it, with its version.
        precision: of the weights, and of the arithmetic in that check.
        files: sha256 of each file by name.
        max_difference: the largest absolute difference of any score from Keras'.
        scans: the number of real scans in that check.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    precision: Literal["float32"] = "float32"
    files: dict[str, str]
    max_difference: float
    scans: int


class Int8Export(BaseModel):
    """The format whose arithmetic is mostly int8. Its scores differ from float32's; the loss of AUROC is bounded.

    Attributes:
        runtime: the program that scored with it in the comparison, with its version.
        precision: of most of the arithmetic.
        rest: of all other arithmetic in the comparison; workers use bfloat16 where their CPU has it.
        quantizer: the program that made it, with its version.
        calibrated_on: the number of scans that the ranges of activations come from: training scans, unless `dataset`
            is given.
        files: sha256 of each file by name.
        scans: the number of scans in the comparison, none of them from a patient of the calibration: validation scans,
            unless `dataset` is given.
        patients: the number of patients of these scans.
        findings: the number of findings with both classes among these scans; each AUROC is the mean over them.
        auroc_float32: mean AUROC of the float32 format.
        auroc_int8: mean AUROC of this format.
        loss_bound: the one-sided 95% bound of `auroc_float32 - auroc_int8`.
        resamples: the number of draws of patients that the bound comes from; 0 if it is a closed form, clustered by
            patient. Version 1 of this file needs the key.
        max_loss: the limit that the bound had to stay below.
        max_difference: the largest absolute difference of any score from float32's.
        dataset: of the CSV that all these scans are from, if the model's split lists no validation scans. The model may
            have been fitted on them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    precision: Literal["int8"] = "int8"
    rest: FloatPrecision
    quantizer: str
    calibrated_on: int
    files: dict[str, str]
    scans: int
    patients: int
    findings: int
    auroc_float32: float
    auroc_int8: float
    loss_bound: float
    resamples: int = 0
    max_loss: float
    max_difference: float
    dataset: str | None = None


AnyExport: TypeAlias = Annotated[Export | Int8Export, Field(discriminator="precision")]


class Exports(BaseModel):
    """The content of `exports.json`.

    Attributes:
        model: sha256 of the artifact that was exported.
        formats: the exports by format: any of `onnx`, `openvino` and `openvino-int8`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    model: str
    formats: dict[str, AnyExport]

    @property
    def hashes(self) -> dict[str, str]:
        """The `export_sha256` of each export by format."""
        return {name: export_sha256(export.files) for name, export in self.formats.items()}


def export_sha256(files: Mapping[str, str]) -> str:
    """The sha256 that identifies an export: over the sha256 of each of its files, by name.

    It is that of `sha256sum`'s output for the files in the order of their names.
    """
    lines = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def write_exports(folder: Path, model: str, formats: Mapping[str, AnyExport]) -> Exports:
    """Write the list of the exports in a folder, made from the model with this sha256."""
    exports = Exports(model=model, formats=dict(formats))
    # Without empty fields: older programs refuse those that they do not know.
    content = exports.model_dump_json(indent=2, exclude_none=True)
    (folder / EXPORTS_FILE).write_text(content + "\n", encoding="utf-8")
    return exports


def read_format(artifact: "Artifact", name: str) -> dict[str, bytes]:
    """The contents of a format's files by name, each verified against the list of exports.

    Raises:
        UserError: the artifact was not exported to this format, or a file cannot be read or was changed.
    """
    exports = read_exports(artifact)
    if name not in exports.formats:
        raise UserError(f"{artifact.folder}: was not exported to {name}; run {_export_command(name)}")
    files = {file: _read_bytes(artifact, file) for file in FILES_BY_FORMAT[name]}
    for file, content in files.items():
        expected, found = exports.formats[name].files.get(file), hashlib.sha256(content).hexdigest()
        if found != expected:
            raise UserError(f"{artifact.folder / file}: {EXPORTS_FILE} says sha256 {expected}, the file has {found}")
    return files


def read_exports(artifact: "Artifact") -> Exports:
    """The list of an artifact's exports.

    Raises:
        UserError: the artifact was never exported, or the list is damaged or belongs to another model.
    """
    path = artifact.folder / EXPORTS_FILE
    if not path.exists():
        raise UserError(f"{artifact.folder}: was never exported; run 'trainer export'")
    return parse_exports(_read_bytes(artifact, EXPORTS_FILE), artifact.sha256, str(path))


def parse_exports(content: bytes, model: str, where: str) -> Exports:
    """Parse and check the content of `exports.json`.

    Args:
        content: JSON.
        model: sha256 of the artifact that it lies beside.
        where: the path or S3 address that it was read from, for error messages.

    Raises:
        UserError: the content is not a list of exports, or belongs to another model.
    """
    try:
        exports = Exports.model_validate_json(content)
    except ValidationError as error:
        raise UserError(f"{where}: not a list of exports ({error.errors()[0]['msg']}); run 'trainer export'") from error
    if exports.model != model:
        raise UserError(
            f"{where}: lists exports of model {exports.model[:12]}, not of {model[:12]}; run 'trainer export'"
        )
    return exports


def _export_command(name: str) -> str:
    return "'trainer export --int8'" if name == INT8 else "'trainer export'"


def _read_bytes(artifact: "Artifact", file: str) -> bytes:
    try:
        return (artifact.folder / file).read_bytes()
    except OSError as error:
        raise UserError(f"{artifact.folder / file}: cannot be read ({error.strerror})") from error
