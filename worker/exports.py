"""What `trainer export` leaves beside an artifact's own files: the same model for other runtimes, and how alike it is.

Exports can be made again from the model, so they are no part of the artifact's identity.
"""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

#: Written last: what it lists is there.
EXPORTS_FILE: Final = "exports.json"
ONNX_FILE: Final = "model.onnx"
OPENVINO_FILE: Final = "openvino.xml"
#: Each format's files; OpenVINO keeps the weights beside the graph.
FILES: Final[Mapping[str, tuple[str, ...]]] = {"onnx": (ONNX_FILE,), "openvino": (OPENVINO_FILE, "openvino.bin")}


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


class Exports(BaseModel):
    """The content of `exports.json`.

    Attributes:
        model: sha256 of the artifact that was exported.
        formats: `onnx` and `openvino`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    model: str
    formats: dict[str, Export]
