"""The flags of `trainer fit` for a recipe's numbers, each with its help and both presets' values."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

#: The same as `trainer.network.encoders.ENCODERS`, whose import would cost seconds.
EncoderName: TypeAlias = Literal["densenet37", "densenet121", "densenet169", "densenet201", "densenet264", "resnet50"]
PrecisionName: TypeAlias = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
_PANEL: Final = "Recipe (each flag replaces the preset's value)"


def _recipe_option(text: str, *, best: object, report: object | None = None, **more: Any) -> Any:
    """An option whose help ends with the values of both presets; None for `report` means the same value."""
    # In the help text, because typer would print a default of its own as None, or a given one in parentheses.
    values = f"{best}" if report is None else f"{best}; report: {report}"
    return typer.Option(help=f"{text}\n\n\\[default: {values}]", rich_help_panel=_PANEL, **more)


Encoder = Annotated[
    EncoderName | None,
    _recipe_option(
        "Network that turns pixels into features. densenet37 is for demos only.",
        best="densenet121",
        envvar="CXR_ENCODER",
    ),
]
Weights = Annotated[
    str | None,
    _recipe_option(
        "Initial weights of the encoder: none, imagenet (downloaded), the name or hash of a model in CXR_MODEL_DIR, or"
        " a file of weights. A model also decides encoder, color, crop, interpolation, rendering, bits and scaling,"
        " unless a flag says otherwise.",
        best="none",
    ),
]
Targets = Annotated[
    list[str] | None,
    _recipe_option(
        "Finding to learn. Repeat the flag for several.", best="all that occur in the CSV", report="Abnormal"
    ),
]
Size = Annotated[int | None, _recipe_option("Height and width of the input, in pixels.", best=224)]
Color = Annotated[
    Literal["gray", "bgr"] | None, _recipe_option("Color channels of the input.", best="gray", report="bgr")
]
Interpolation = Annotated[
    Literal["area", "linear"] | None,
    _recipe_option("Interpolation when images are resized.", best="area", report="linear"),
]
Rendering = Annotated[
    Literal["display", "full_range", "equalized"] | None,
    _recipe_option(
        "Gray levels of DICOM films: as a radiologist's screen shows them (display), all values that the header allows"
        " (full_range), or with histogram equalisation as in MIMIC-CXR-JPG (equalized).",
        best="display",
    ),
]
Bits = Annotated[
    int | None,
    _recipe_option("Bits that 16-bit PNGs and TIFFs use, such as 12; None finds them for each image.", best=None),
]
Crop = Annotated[
    Literal["none", "center"] | None,
    _recipe_option("Crop before images are resized: center cuts the longer side to the shorter one.", best="none"),
]
Scaling = Annotated[
    Literal["scan", "range", "unit", "imagenet"] | None,
    _recipe_option(
        "Scaling of pixels: by each scan's mean and deviation (scan), by 255 (unit), as ImageNet's weights expect"
        " (imagenet), or to the numbers of --range (range).",
        best="scan",
        report="unit",
    ),
]
Range = Annotated[
    tuple[float, float] | None,
    _recipe_option("What black and white are to the network, such as -1024 1024.", best=None, metavar="BLACK WHITE"),
]
Hidden = Annotated[
    int | None, _recipe_option("Units of a hidden layer before the output layer; 0 adds none.", best=0, report=512)
]
Dropout = Annotated[float | None, _recipe_option("Dropout rate before the output layer.", best=0.2, report=0.0)]
Optimizer = Annotated[Literal["adamw", "adam"] | None, _recipe_option("Optimizer.", best="adamw", report="adam")]
LearningRate = Annotated[float | None, _recipe_option("Peak learning rate.", best=0.001, report=9e-06)]
WeightDecay = Annotated[float | None, _recipe_option("Weight decay of AdamW.", best=0.01, report=0.0)]
Warmup = Annotated[
    float | None,
    _recipe_option("Share of all steps in which the learning rate rises to its peak.", best=0.05, report=0.0),
]
Decay = Annotated[
    Literal["cosine", "constant"] | None,
    _recipe_option("Learning rate schedule after warm-up.", best="cosine", report="constant"),
]
Epochs = Annotated[int | None, _recipe_option("Maximum number of epochs.", best=30, report=50, envvar="CXR_EPOCHS")]
BatchSize = Annotated[int | None, _recipe_option("Batch size.", best=32)]
Patience = Annotated[
    int | None,
    _recipe_option("Number of epochs without a better validation AUROC after which the fit stops.", best=10, report=50),
]
Averaging = Annotated[
    float | None, _recipe_option("Momentum of the weights' moving average; 0 turns averaging off.", best=0.0)
]
Balance = Annotated[
    float | None,
    _recipe_option(
        "Exponent b of the weight of positives, ((1 - p) / p) ** b, for a finding of prevalence p.", best=0.0
    ),
]
PriorBias = Annotated[
    bool | None,
    _recipe_option("Initialize scores at each finding's prevalence.", best="prior-bias", report="no-prior-bias"),
]
Rotation = Annotated[float | None, _recipe_option("Augmentation: maximum rotation, in degrees.", best=8.0, report=0.0)]
Shift = Annotated[
    float | None, _recipe_option("Augmentation: maximum shift, as a share of the side.", best=0.06, report=0.0)
]
Zoom = Annotated[
    float | None, _recipe_option("Augmentation: maximum zoom in or out, as a share.", best=0.1, report=0.0)
]
Contrast = Annotated[
    float | None, _recipe_option("Augmentation: maximum change of contrast, as a share.", best=0.15, report=0.0)
]
Brightness = Annotated[
    float | None,
    _recipe_option("Augmentation: maximum change of brightness, as a share of white.", best=0.08, report=0.0),
]
Mirror = Annotated[float | None, _recipe_option("Augmentation: share of scans mirrored left to right.", best=0.0)]
SplitBy = Annotated[
    Literal["patient", "image"] | None,
    _recipe_option(
        "Unit of the split into subsets: patient keeps all scans of a patient together.", best="patient", report="image"
    ),
]
ValidationShare = Annotated[
    float | None,
    _recipe_option("Share of scans for validation; with 0, nothing is tuned.", best=0.15, report=0.0),
]
TestShare = Annotated[
    float | None,
    _recipe_option("Share of scans for the test, which are never fitted or tuned on.", best=0.25, report=0.2),
]
Precision = Annotated[
    PrecisionName | None,
    _recipe_option(
        "Floating-point precision of the fit; auto is the fastest that the hardware has.", best="auto", report="float32"
    ),
]
Seed = Annotated[
    int | None,
    _recipe_option("Seed of all random numbers; the same seed gives the same model.", best=0, envvar="CXR_SEED"),
]
