"""The flags of `trainer fit`: every number of a recipe, each None where a preset decides."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

from worker.entry_point import stoppable

Preset: TypeAlias = Literal["best", "report"]
#: `trainer.network.encoders.ENCODERS`, whose import costs seconds.
Encoder: TypeAlias = Literal["densenet37", "densenet121", "densenet169", "densenet201", "densenet264", "resnet50"]
Precision: TypeAlias = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
_PANEL: Final = "Recipe (instead of the preset's; report's own in brackets)"


def _of_recipe(text: str, default: str, **more: Any) -> Any:
    return typer.Option(help=text, show_default=default, rich_help_panel=_PANEL, **more)


EncoderFlag = Annotated[Encoder | None, _of_recipe("densenet37 is for demos.", "densenet121", envvar="CXR_ENCODER")]
Weights = Annotated[str | None, _of_recipe("none, imagenet (fetched), a file or an artifact's model.keras.", "none")]
Targets = Annotated[list[str] | None, _of_recipe("A finding to learn; again for more.", "all that occur [Abnormal]")]
Size = Annotated[int | None, _of_recipe("Input height and width.", "224")]
Color = Annotated[Literal["gray", "bgr"] | None, _of_recipe("Channels of the input.", "gray [bgr]")]
Interpolation = Annotated[Literal["area", "linear"] | None, _of_recipe("Of cv2's resize.", "area [linear]")]
Scaling = Annotated[
    Literal["scan", "unit", "imagenet"] | None,
    _of_recipe("By each scan's mean and deviation, by 255, or as ImageNet's weights expect.", "scan [unit]"),
]
Hidden = Annotated[int | None, _of_recipe("Units of a dense layer before the scores.", "0 [512]")]
Dropout = Annotated[float | None, _of_recipe("Of features.", "0.2 [0.0]")]
Optimizer = Annotated[Literal["adamw", "adam"] | None, _of_recipe("", "adamw [adam]")]
LearningRate = Annotated[float | None, _of_recipe("Its peak.", "0.001 [9e-06]")]
WeightDecay = Annotated[float | None, _of_recipe("AdamW's.", "0.01 [0.0]")]
Warmup = Annotated[float | None, _of_recipe("Share of steps up to the peak.", "0.05 [0.0]")]
Decay = Annotated[Literal["cosine", "constant"] | None, _of_recipe("From the peak on.", "cosine [constant]")]
Epochs = Annotated[int | None, _of_recipe("At most.", "30 [50]", envvar="CXR_EPOCHS")]
BatchSize = Annotated[int | None, _of_recipe("Scans in a step.", "32")]
Patience = Annotated[int | None, _of_recipe("Epochs without a better validation AUROC.", "10 [50]")]
Averaging = Annotated[float | None, _of_recipe("Momentum of the weights' moving average; 0 is none.", "0.0")]
Balance = Annotated[float | None, _of_recipe("Positives weigh ((1 - p) / p) ** balance.", "0.0")]
PriorBias = Annotated[bool | None, _of_recipe("Begin at each finding's prevalence.", "prior-bias [no-prior-bias]")]
Rotation = Annotated[float | None, _of_recipe("Degrees, at most, either way.", "8.0 [0.0]")]
Shift = Annotated[float | None, _of_recipe("Share of the side, at most.", "0.06 [0.0]")]
Zoom = Annotated[float | None, _of_recipe("Share, at most, in or out.", "0.1 [0.0]")]
Contrast = Annotated[float | None, _of_recipe("Share, at most, up or down.", "0.15 [0.0]")]
Brightness = Annotated[float | None, _of_recipe("Share of white, at most, up or down.", "0.08 [0.0]")]
Mirror = Annotated[float | None, _of_recipe("Share of scans mirrored left to right.", "0.0")]
SplitBy = Annotated[Literal["patient", "image"] | None, _of_recipe("What stays together.", "patient [image]")]
ValidationShare = Annotated[float | None, _of_recipe("Of the scans; 0 chooses nothing on it.", "0.15 [0.0]")]
TestShare = Annotated[float | None, _of_recipe("Of the scans; never fitted or tuned on.", "0.25 [0.2]")]
PrecisionFlag = Annotated[Precision | None, _of_recipe("What the fit computes in.", "auto [float32]")]
SeedFlag = Annotated[int | None, _of_recipe("The same seed, the same model.", "0", envvar="CXR_SEED")]


def fit(  # noqa: PLR0917 - one parameter a flag is typer's way
    csv: Annotated[Path, typer.Option(help="Labels in NIH's layout.", dir_okay=False)],
    name: Annotated[str, typer.Option(help="Alias of the new model.")],
    images: Annotated[
        str | None,
        typer.Option(help="Folder or s3://bucket/prefix.", envvar="CXR_IMAGES", show_default="beside the CSV"),
    ] = None,
    preset: Annotated[Preset, typer.Option(help="report is the mini project's.", envvar="CXR_PRESET")] = "best",
    train_list: Annotated[Path | None, typer.Option(help="NIH's train_val_list.txt.", dir_okay=False)] = None,
    test_list: Annotated[Path | None, typer.Option(help="NIH's test_list.txt.", dir_okay=False)] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's logs.", file_okay=False)] = None,
    all_gpus: Annotated[  # noqa: FBT002
        bool, typer.Option("--all-gpus", help="Deal each batch to all GPUs; else the first one fits.")
    ] = False,
    export: Annotated[  # noqa: FBT002
        bool, typer.Option(help="Publish it for OpenVINO as well, which scores faster on CPUs.")
    ] = True,
    encoder: EncoderFlag = None,
    weights: Weights = None,
    target: Targets = None,
    size: Size = None,
    color: Color = None,
    interpolation: Interpolation = None,
    scaling: Scaling = None,
    hidden: Hidden = None,
    dropout: Dropout = None,
    optimizer: Optimizer = None,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = None,
    warmup: Warmup = None,
    decay: Decay = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    patience: Patience = None,
    averaging: Averaging = None,
    balance: Balance = None,
    prior_bias: PriorBias = None,
    rotation: Rotation = None,
    shift: Shift = None,
    zoom: Zoom = None,
    contrast: Contrast = None,
    brightness: Brightness = None,
    mirror: Mirror = None,
    split: SplitBy = None,
    validation_share: ValidationShare = None,
    test_share: TestShare = None,
    precision: PrecisionFlag = None,
    seed: SeedFlag = None,
) -> None:
    """Fit a model and publish it to CXR_MODEL_DIR; after a kill the same command goes on from its last epoch."""
    chosen = dict(locals())
    from trainer.console.optional_packages import JUDGES, check_installed

    check_installed("trainer fit", JUDGES)
    from db.settings import load_settings
    from trainer.data.training_data import Source
    from trainer.evaluation.tables import show
    from trainer.fitting.fit import FitSetting
    from trainer.fitting.fit import fit as fit_model
    from trainer.recipe import Recipe, make_recipe
    from worker.artifacts.model_store import open_model_store
    from worker.settings import ModelSettings

    flags = {flag: value for flag, value in chosen.items() if flag in Recipe.model_fields}
    recipe = make_recipe(preset, **flags, targets=tuple(target) if target else None)
    settings = load_settings(ModelSettings)
    setting = FitSetting(
        models=open_model_store(settings.model_dir, settings.home),
        scratch=settings.home / "trainer",
        tensorboard=tensorboard,
        all_gpus=all_gpus,
        export=export,
    )
    source = Source(csv=csv, images=images, train_list=train_list, test_list=test_list)
    with stoppable("nothing was published; the same command goes on after the last whole epoch"):
        fitted = fit_model(name, source, recipe, setting)
    show(fitted.evaluation)
    print(f"model {name} is artifact {fitted.artifact.sha256[:12]}")
    print(f"folder {fitted.artifact.folder}")
    if fitted.sheet:
        print(f"where labels may be wrong: {fitted.sheet} (names and pixels: not published)")
