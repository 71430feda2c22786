"""What a person can choose about a fit, and two presets: `best`, and the mini project's own recipe, `report`."""

import hashlib
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from db.errors import UserError
from worker.images.preprocessing import Preprocessing

#: What black or white may be to a network. Much larger numbers overflow in it, and ReLU may hide that.
Level: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class Recipe(BaseModel):
    """Everything that decides a fit besides its data. The same recipe, data and machine give the same model.

    Attributes:
        encoder: a name of `trainer.network.encoders.ENCODERS`.
        weights: `imagenet`, `none`, the sha256 of an artifact in the model store, or a file that Keras saved.
        size: height and width of the input, in pixels.
        color, interpolation, rendering, bits, crop: see `worker.images.preprocessing.Preprocessing`.
        scaling: `scan` normalizes each scan by its own mean and deviation, `range` is linear from black to white,
            `unit` is the same as `range` from 0 to 1, and `imagenet` scales as the encoder's ImageNet weights expect.
        range: what black and white become; only for a scaling of `range`.
        hidden: units of a hidden dense layer before the output layer; 0 adds none.
        dropout: share of features that are dropped before the output layer.
        targets: findings to score; () stands for all that can be learned, see
            `trainer.data.labels.learnable_findings`.
        optimizer: `adamw` with decoupled weight decay, or plain `adam`.
        learning_rate: the peak learning rate.
        weight_decay: weight decay of AdamW, on kernels only.
        warmup: share of all steps in which the learning rate rises to its peak; ignored by a `constant` rate.
        decay: `cosine` lowers the learning rate to 0, `constant` keeps it.
        epochs: the maximum number of epochs.
        batch_size: scans per step.
        patience: number of epochs without a better validation AUROC after which the fit stops.
        averaging: momentum of the moving average of weights that is validated and published; 0 turns it off.
        balance: positives of a finding with prevalence p weigh ((1 - p) / p) ** balance; 0 is plain crossentropy.
        prior_bias: whether scores start at each finding's prevalence instead of 0.5.
        rotation: augmentation's maximum rotation, in degrees.
        shift, zoom, contrast, brightness: augmentation's maximum changes, as shares.
        mirror: share of the training scans that are mirrored left to right.
        split: `patient` keeps each patient's scans in one subset, `image` assigns scans regardless of patients (as the
            mini project did).
        validation_share, test_share: shares of the scans.
        precision: `auto` takes 16-bit floats where the hardware has them; the published model is always float32.
        seed: seed of all random numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = "densenet121"
    weights: str = "none"
    size: int = Field(default=224, ge=32, le=1024)
    color: Literal["gray", "bgr"] = "gray"
    interpolation: Literal["area", "linear"] = "area"
    rendering: Literal["display", "full_range", "equalized"] = "display"
    bits: int | None = Field(default=None, ge=8, le=16)
    crop: Literal["none", "center"] = "none"
    scaling: Literal["scan", "range", "unit", "imagenet"] = "scan"
    range: tuple[Level, Level] | None = None
    hidden: int = Field(default=0, ge=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    targets: tuple[str, ...] = ()
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=0.5)
    decay: Literal["cosine", "constant"] = "cosine"
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=32, ge=2)
    patience: int = Field(default=10, ge=1)
    averaging: float = Field(default=0.0, ge=0, lt=1)
    balance: float = Field(default=0.0, ge=0, le=1)
    prior_bias: bool = True
    rotation: float = Field(default=8.0, ge=0, le=45)
    shift: float = Field(default=0.06, ge=0, le=0.5)
    zoom: float = Field(default=0.1, ge=0, le=0.5)
    contrast: float = Field(default=0.15, ge=0, lt=1)
    brightness: float = Field(default=0.08, ge=0, lt=1)
    mirror: float = Field(default=0.0, ge=0, le=1)
    split: Literal["patient", "image"] = "patient"
    validation_share: float = Field(default=0.15, ge=0, le=0.8)
    test_share: float = Field(default=0.25, gt=0, le=0.8)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check_range(self) -> "Recipe":
        if (self.range is not None) != (self.scaling == "range"):
            raise ValueError(
                f"--scaling is {self.scaling} and --range is {_written(self.range)}; give both, or no --range"
            )
        if self.range and self.range[0] == self.range[1]:
            raise ValueError(f"--range is {_written(self.range)}, so every image would be the same; give two numbers")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; `range` only where it says something, so that recipes of published models keep their hashes."""
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if name != "range" or value is not None}

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become pixels. The manifest repeats it, so that workers do the same."""
        return Preprocessing(
            rule=2,
            height=self.size,
            width=self.size,
            color=self.color,
            interpolation=self.interpolation,
            rendering=self.rendering,
            bits=self.bits,
            crop=self.crop,
        )

    @property
    def sha256(self) -> str:
        """Identifies the recipe; files that it names count by their paths."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def _written(numbers: tuple[float, float] | None) -> str:
    return f"{numbers[0]:g} {numbers[1]:g}" if numbers else "not given"


#: What the mini project's listing does, without anything that it left out. The listing does not say how it scaled
#: pixels. It started from ImageNet's weights, which `--weights imagenet` downloads.
_REPORT: Final[dict[str, Any]] = {
    "color": "bgr",
    "interpolation": "linear",
    "scaling": "unit",
    "hidden": 512,
    "dropout": 0.0,
    "targets": ("Abnormal",),
    "optimizer": "adam",
    "learning_rate": 9e-6,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "decay": "constant",
    "epochs": 50,
    "patience": 50,
    "averaging": 0.0,
    "balance": 0.0,
    "prior_bias": False,
    "rotation": 0.0,
    "shift": 0.0,
    "zoom": 0.0,
    "contrast": 0.0,
    "brightness": 0.0,
    "mirror": 0.0,
    "split": "image",
    "validation_share": 0.0,
    "test_share": 0.2,
    "precision": "float32",
}
PRESETS: Final[dict[str, dict[str, Any]]] = {"best": {}, "report": _REPORT}


def make_recipe(preset: str, **overrides: Any) -> Recipe:
    """A preset's recipe with other values where a person chose them; an override of None keeps the preset's value.

    Raises:
        UserError: a value is out of its range, or two contradict each other.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if "range" in given:
        given.setdefault("scaling", "range")
    try:
        return Recipe.model_validate(PRESETS[preset] | given)
    except ValidationError as error:
        raise UserError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return first["msg"].removeprefix("Value error, ")
    flag = "--" + str(first["loc"][0]).replace("_", "-")
    return f"{flag} is {first['input']!r}: {first['msg']}"
