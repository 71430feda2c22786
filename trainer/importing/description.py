"""What a publisher says of a network besides its weights, as JSON or flags: outputs, pixels, licence and figures."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

#: The only name of a threshold that a publisher states.
PUBLISHED: Final = "published"


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
        split: how the publisher divided its scans. `torchxrayvision` is that library's seeded split of NIH's list.
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
    range: tuple[FiniteFloat, FiniteFloat] = (0.0, 255.0)
    scaling: Literal["range", "imagenet"] = "range"
    thresholds: dict[str, float] = {}
    views: tuple[str, ...] = ()
    split: Literal["unknown", "torchxrayvision"] = "unknown"
    source: str = ""
    licence: str = ""
    citation: str = ""
    published_auroc: dict[str, float] = {}
    published_auroc_of: str = ""
