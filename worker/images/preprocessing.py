"""The rule that turns an image into a model's pixels: size, colour, interpolation. Importing it loads no decoder."""

from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

#: Fields that rule 1 lacks. Older programs refuse a manifest that names them.
_FIELDS_OF_RULE_2: Final = frozenset({"rule", "rendering", "bits", "crop", "range"})


class Preprocessing(BaseModel):
    """How an image becomes pixels, in training and in serving alike.

    Attributes:
        height, width: the model's input in pixels.
        color: `gray` gives one channel, `bgr` three in cv2's order (the mini project's way).
        interpolation: cv2's `INTER_AREA` or `INTER_LINEAR`.
        rule: the version of the pixel rule. 1 is that of manifests of format 1, which score no DICOM. 2 has what
            follows, and a depth of 16-bit images that a few pixels cannot decide.
        rendering: how DICOM's stored values become gray levels. `display` is what a radiologist's screen shows,
            `full_range` spreads all values that the header allows, and `equalized` is min-max with histogram
            equalisation, as MIMIC-CXR-JPG was made.
        bits: how many bits 16-bit PNGs and TIFFs use, and brighter values are white; None finds it for each image.
        crop: `center` cuts the longer side to the length of the shorter one, around the middle.
        range: what the pixels 0 and 255 become before the network of the artifact's model file sees them. They stay
            uint8 everywhere else: `worker.artifacts.keras_model` puts the scaling in front.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(default=224, ge=1)
    width: int = Field(default=224, ge=1)
    color: Literal["gray", "bgr"] = "gray"
    interpolation: Literal["area", "linear"] = "area"
    rule: Literal[1, 2] = 1
    rendering: Literal["display", "full_range", "equalized"] = "display"
    bits: int | None = Field(default=None, ge=8, le=16)
    crop: Literal["none", "center"] = "none"
    range: tuple[FiniteFloat, FiniteFloat] = (0.0, 255.0)

    @model_validator(mode="after")
    def _check_rule(self) -> "Preprocessing":
        if self.rule == 1 and (newer := sorted(self.model_fields_set & _FIELDS_OF_RULE_2 - {"rule"})):
            raise ValueError(f"{newer[0]} is a field of rule 2, and the rule is 1")
        if self.range[0] == self.range[1]:
            raise ValueError(f"range is {self.range[0]:g} for black and for white, so every image would be the same")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; under rule 1 those that it always had, so that its bytes stay as they were."""
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if self.rule > 1 or name not in _FIELDS_OF_RULE_2}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one scan's pixels."""
        return (self.height, self.width, 1 if self.color == "gray" else 3)


#: The rule of manifests of format 1.
RULE_1: Final = Preprocessing()
