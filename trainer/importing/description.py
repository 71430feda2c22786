"""What a publisher says of a network besides its weights, as JSON or flags: outputs, pixels, licence and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from db.errors import UserError
from db.findings import FINDINGS
from trainer.importing.public_weights import PUBLIC_WEIGHTS
from trainer.recipe import Level
from worker.dicom.header import named_view

#: A description has a kilobyte or two.
_MAX_BYTES: Final = 1_000_000
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def _check_text(text: str) -> str:
    # It is written into the ledger, and PostgreSQL stores no NUL; terminals and pages show it.
    if unprintable := [char for char in text if not char.isprintable() and char not in "\n\t"]:
        raise ValueError(f"it holds the character {unprintable[0]!a}, which cannot be shown")
    return text.strip()


def _check_view(text: str) -> str:
    if (view := named_view(text)) is None:
        raise ValueError("it names no view; choose from PA, AP, FRONTAL, LATERAL, OBLIQUE and DECUBITUS")
    return view


_Text: TypeAlias = Annotated[str, Field(max_length=4000), AfterValidator(_check_text)]
_View: TypeAlias = Annotated[str, Field(max_length=100), AfterValidator(_check_view)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Description(BaseModel):
    """The content of the JSON beside a file of weights. Unknown fields are refused.

    Attributes:
        outputs: the findings of the network's outputs, in their order. An output named "" is left out.
        size: height and width of the input, in pixels.
        channels: of the network's input. Gray pixels are repeated where it takes three.
        crop, interpolation, rendering, bits: see `worker.images.preprocessing.Preprocessing`.
        range: what black and white are to the network.
        scaling: `range` is linear from black to white; `imagenet` is by ImageNet's mean and deviation of each channel,
            which leaves no choice of `range`.
        thresholds: the publisher's threshold of each finding, on the sigmoid output.
        views: of the scans that the network was fitted on, such as `PA` and `AP`.
        source: where the weights were published.
        licence: of the weights, as its SPDX identifier where there is one.
        citation: what its authors ask to be cited.
        published_auroc: by finding, as its authors measured it.
        published_auroc_of: the scans that these figures are of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outputs: tuple[str, ...]
    size: int = Field(default=224, ge=32, le=1024)
    channels: Literal[1, 3]
    crop: Literal["none", "center"] = "none"
    interpolation: Literal["area", "linear"] = "area"
    rendering: Literal["display", "full_range", "equalized"] = "display"
    bits: int | None = Field(default=None, ge=8, le=16)
    range: tuple[Level, Level] = (0.0, 255.0)
    scaling: Literal["range", "imagenet"] = "range"
    thresholds: dict[str, _Share] = {}
    views: tuple[_View, ...] = ()
    source: _Text = ""
    licence: _Text = ""
    citation: _Text = ""
    published_auroc: dict[str, _Share] = {}
    published_auroc_of: _Text = ""

    @property
    def findings(self) -> tuple[str, ...]:
        """The outputs that have a name here."""
        return tuple(filter(None, self.outputs))

    @model_validator(mode="after")
    def _check_outputs(self) -> "Description":
        for finding in self.findings:
            if finding not in FINDINGS:
                raise ValueError(
                    f'outputs has {finding!r:.80}, which is no finding here; write "" for an output that has no name'
                    f" here, or choose from {', '.join(FINDINGS)}"
                )
            if self.findings.count(finding) > 1:
                raise ValueError(f'outputs has {finding!r} twice; write "" for the output that is to be left out')
        if not self.findings:
            raise ValueError('outputs names no finding, and "" leaves an output out; name one or more of them')
        return self

    @model_validator(mode="after")
    def _check_figures(self) -> "Description":
        for field, figures in (("thresholds", self.thresholds), ("published_auroc", self.published_auroc)):
            if unknown := sorted(figures.keys() - set(self.findings)):
                raise ValueError(f"{field} has {unknown[0]!r:.80}, which is not among outputs; leave it out")
        return self

    @model_validator(mode="after")
    def _check_scaling(self) -> "Description":
        black, white = self.range
        if black == white:
            raise ValueError(
                f"range is {black:g} for black and for white, so every image would be the same; give two numbers"
            )
        if self.scaling == "imagenet" and self.range != (0, 255):
            raise ValueError(
                f"scaling is imagenet, which decides what black and white are, and range is {black:g} to {white:g};"
                " leave out one of them"
            )
        if self.scaling == "imagenet" and self.channels == 1:
            raise ValueError("scaling is imagenet, which needs three channels, and channels is 1; correct one of them")
        return self


def read_description(given: Path | None, overrides: Mapping[str, Any]) -> Description:
    """Read what describes a network, and replace what flags state otherwise.

    Args:
        given: a JSON file, or the name of public weights; None means that flags state everything.
        overrides: fields of `Description`; one that is None states nothing.

    Raises:
        UserError: the file cannot be read or is not such JSON, or what file and flags state contradicts itself.
    """
    stated = {field: value for field, value in overrides.items() if value is not None}
    fields = (_read_fields(given) if given else {}) | stated
    try:
        return Description.model_validate(fields)
    except ValidationError as error:
        where = given or "the flags (no .json of the same name lies beside the weights, and --description names none)"
        raise UserError(f"{where}: {_sentence(error, stated)}") from error


def _read_fields(given: Path) -> dict[str, Any]:
    listed = PUBLIC_WEIGHTS.get(str(given))
    return dict(listed.description) if listed else _read_json(given)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{path}: the description of the weights cannot be read ({error.strerror}); give another, or a name"
            " from --list"
        ) from error
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path}: is longer than 1 MB, so it is no description of weights; give another --description")
    try:
        # It refuses what is nested too deep.
        fields = from_json(content.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error!s:.200}); correct it") from error
    if not isinstance(fields, dict):
        raise UserError(f'{path}: is not a JSON object, such as {{"outputs": [...], "channels": 1}}; correct it')
    return fields


def _sentence(error: ValidationError, stated: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    # The name of an unknown field can be any text, so its control characters are escaped.
    field = ascii(".".join(map(str, first["loc"])))[1:-1]
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"{field} is not stated; add it, or give --{field}"
    if first["type"] == "extra_forbidden":
        return f"{field:.80} is no field of a description; choose from {', '.join(Description.model_fields)}"
    flag = f" (by --{first['loc'][0]})" if first["loc"][0] in stated else ""
    return f"{field:.80} is {first['input']!r:.200}{flag}: {message}; correct it"
