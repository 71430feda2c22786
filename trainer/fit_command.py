"""The `trainer fit` command. A flag of the recipe is None where the preset decides."""

import os
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import typer

from db.errors import EXIT_REJECTS
from db.labels.flags import with_reading
from db.labels.reading import DEFAULT_READING, Reading
from trainer import recipe_flags as flags

#: The model is published, but a part of what belongs beside it could not be made.
EXIT_INCOMPLETE: Final = EXIT_REJECTS

Preset: TypeAlias = Literal["best", "report"]

CsvFlag = Annotated[Path, typer.Option(help="Labels CSV, see docs/labels.md.", dir_okay=False)]
ImagesFlag = Annotated[
    str | None,
    typer.Option(
        help="Folder or s3://bucket/prefix of the images. By default they are looked for beside the CSV.",
        envvar="CXR_IMAGES",
    ),
]


@with_reading
def fit(  # noqa: PLR0917 - typer wants one parameter per flag
    csv: CsvFlag,
    name: Annotated[str, typer.Option(help="Name of the new model.")],
    images: ImagesFlag = None,
    reading: Reading = DEFAULT_READING,
    preset: Annotated[
        Preset,
        typer.Option(
            help="Recipe to start from: best is this project's own, report repeats the mini project's.",
            envvar="CXR_PRESET",
        ),
    ] = "best",
    train_list: Annotated[
        Path | None, typer.Option(help="NIH's train_val_list.txt, used together with --test-list.", dir_okay=False)
    ] = None,
    test_list: Annotated[
        Path | None, typer.Option(help="NIH's test_list.txt, used together with --train-list.", dir_okay=False)
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard logs.", file_okay=False)] = None,
    all_gpus: Annotated[  # noqa: FBT002
        bool, typer.Option("--all-gpus", help="Divide each batch among all GPUs. By default only the first is used.")
    ] = False,
    export: Annotated[  # noqa: FBT002
        bool, typer.Option(help="Also publish an OpenVINO export, which scores faster on CPUs.")
    ] = True,
    encoder: flags.Encoder = None,
    weights: flags.Weights = None,
    target: flags.Targets = None,
    size: flags.Size = None,
    color: flags.Color = None,
    interpolation: flags.Interpolation = None,
    rendering: flags.Rendering = None,
    bits: flags.Bits = None,
    crop: flags.Crop = None,
    scaling: flags.Scaling = None,
    range: flags.Range = None,  # noqa: A002 -- the flag's name
    hidden: flags.Hidden = None,
    dropout: flags.Dropout = None,
    optimizer: flags.Optimizer = None,
    learning_rate: flags.LearningRate = None,
    weight_decay: flags.WeightDecay = None,
    warmup: flags.Warmup = None,
    decay: flags.Decay = None,
    epochs: flags.Epochs = None,
    batch_size: flags.BatchSize = None,
    patience: flags.Patience = None,
    averaging: flags.Averaging = None,
    balance: flags.Balance = None,
    prior_bias: flags.PriorBias = None,
    rotation: flags.Rotation = None,
    shift: flags.Shift = None,
    zoom: flags.Zoom = None,
    contrast: flags.Contrast = None,
    brightness: flags.Brightness = None,
    mirror: flags.Mirror = None,
    split: flags.SplitBy = None,
    validation_share: flags.ValidationShare = None,
    test_share: flags.TestShare = None,
    precision: flags.Precision = None,
    seed: flags.Seed = None,
) -> None:
    """Fit a model and publish it to CXR_MODEL_DIR.

    If the fit is interrupted, the same command resumes it after the last complete epoch. Once the model is published,
    the same command makes what is missing beside it. Exit code 3: the model is published, but something is missing.
    """
    arguments = dict(locals())
    from trainer.console.optional_packages import FIT_PACKAGES, check_installed

    check_installed("trainer fit", FIT_PACKAGES)
    from db.home import open_home
    from db.settings import load_settings
    from worker.settings import ModelSettings

    settings = load_settings(ModelSettings)
    # Before matplotlib is imported: otherwise it writes to the home folder.
    os.environ.setdefault("MPLCONFIGDIR", str(settings.trainer_folder / "matplotlib"))
    from trainer.console.progress import print_status
    from trainer.data.training_data import Source
    from trainer.evaluation.tables import print_tables
    from trainer.fitting.base_model import begin_recipe
    from trainer.fitting.fit import FitOptions
    from trainer.fitting.fit import fit as fit_model
    from trainer.recipe import Recipe
    from worker.artifacts.model_store import open_model_store
    from worker.entry_point import printable

    overrides = {flag: value for flag, value in arguments.items() if flag in Recipe.model_fields}
    open_home(settings.home)
    models = open_model_store(settings.model_dir, settings.home)
    recipe = begin_recipe(preset, {**overrides, "targets": tuple(target) if target else None}, models)
    options = FitOptions(
        models=models,
        scratch=settings.trainer_folder,
        tensorboard=tensorboard,
        all_gpus=all_gpus,
        export=export,
    )
    source = Source(csv=csv, images=images, reading=reading, train_list=train_list, test_list=test_list)
    fitted = fit_model(name, source, recipe, options)
    if fitted.evaluation:
        print_tables(fitted.evaluation)
    print(f"published model {name} as artifact {fitted.artifact.sha256[:12]}")
    print(f"folder {fitted.artifact.folder}")
    if fitted.contact_sheet:
        print(f"scans whose labels may be wrong: {fitted.contact_sheet} (not published: it shows names and pixels)")
    if fitted.missing:
        lacking = printable("; ".join(fitted.missing))
        print_status(
            f"incomplete: model {name} is published and usable, but lacks {lacking}; the same command makes the rest"
        )
        raise typer.Exit(EXIT_INCOMPLETE)
