"""The rule that turns an image into a model's pixels: size, colour, interpolation. Importing it loads no decoder."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
        bits: how many bits 16-bit PNGs and TIFFs use; None finds it for each image.
        crop: `center` cuts the longer side to the length of the shorter one, around the middle.
        range: what the pixels 0 and 255 become before the network sees them. Its Keras model has uint8 pixels all the
            same: `worker.artifacts.keras_model` puts the scaling in front.
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
    range: tuple[float, float] = (0.0, 255.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one scan's pixels."""
        return (self.height, self.width, 1 if self.color == "gray" else 3)
