"""The rule that turns an image into a model's pixels: size, colour, interpolation. Importing it loads no decoder."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Preprocessing(BaseModel):
    """How an image becomes pixels, in training and in serving alike.

    Attributes:
        height, width: the model's input in pixels.
        color: `gray` gives one channel, `bgr` three in cv2's order (the mini project's way).
        interpolation: cv2's `INTER_AREA` or `INTER_LINEAR`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(default=224, ge=1)
    width: int = Field(default=224, ge=1)
    color: Literal["gray", "bgr"] = "gray"
    interpolation: Literal["area", "linear"] = "area"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one scan's pixels."""
        return (self.height, self.width, 1 if self.color == "gray" else 3)
