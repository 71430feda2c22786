"""`trainer phantoms`, `trainer fit` and `trainer baseline`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from db.errors import Stopped
from worker.terminal import run_command

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Fit a model and publish the artifact that workers load."
)

Csv = Annotated[Path, typer.Option(help="Labels in NIH's layout.", dir_okay=False)]
Images = Annotated[
    str | None, typer.Option(help="Folder or s3://bucket/prefix.", envvar="CXR_IMAGES", show_default="beside the CSV")
]
#: `trainer.model.ENCODERS`, whose import costs seconds.
Encoder = Literal["densenet37", "densenet121", "densenet169", "densenet201"]
Seed = Annotated[int, typer.Option(help="The same seed, the same result.", envvar="CXR_SEED", min=0)]


@app.command()
def phantoms(
    out: Annotated[Path, typer.Option(help="Folder for images/ and sample_labels.csv.", file_okay=False)],
    patients: Annotated[int, typer.Option(help="Each is scanned one to five times.", min=1)] = 150,
    seed: Seed = 0,
) -> None:
    """Make synthetic radiographs with NIH's names and labels; what is there already is kept."""
    from trainer.phantoms import make_phantoms, plan_phantoms
    from trainer.progress import stage

    scans = len(plan_phantoms(patients=patients, seed=seed))
    with _stoppable("the images drawn so far stay, the same command goes on"), stage("phantoms", scans) as advance:
        made = make_phantoms(out, patients=patients, seed=seed, advance=advance)
    print(f"{made.csv}: {made.scans} synthetic scans of {patients} patients" + _kept(made.scans - made.drawn))


@app.command()
def fit(  # noqa: PLR0917 - one parameter a flag is typer's way
    csv: Csv,
    name: Annotated[str, typer.Option(help="Alias of the new model.")],
    images: Images = None,
    encoder: Annotated[Encoder, typer.Option(help="densenet37 is for demos.", envvar="CXR_ENCODER")] = "densenet121",
    size: Annotated[int, typer.Option(help="Input height and width; 224 for real scans.", min=32, max=1024)] = 64,
    epochs: Annotated[int, typer.Option(min=1, envvar="CXR_EPOCHS")] = 12,
    batch_size: Annotated[int, typer.Option(help="Scans in one training step.", min=2)] = 16,
    learning_rate: Annotated[float, typer.Option(help="Its peak.", min=0)] = 1e-3,
    validation_share: Annotated[float, typer.Option(help="Of the scans, by patient.", min=0.01, max=0.8)] = 0.15,
    test_share: Annotated[
        float, typer.Option(help="Of the scans, by patient; never fitted on.", min=0.01, max=0.8)
    ] = 0.25,
    seed: Seed = 0,
) -> None:
    """Fit a model from scratch and publish it to CXR_MODEL_DIR."""
    from db.settings import Settings, load_settings
    from trainer.fit import FitOptions, in_words
    from trainer.fit import fit as fit_model

    options = FitOptions(
        csv=csv,
        images=images,
        name=name,
        encoder=encoder,
        size=size,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation_share=validation_share,
        test_share=test_share,
        seed=seed,
    )
    with _stoppable("nothing was published"):
        fitted = fit_model(options, model_dir=load_settings(Settings).model_dir)
    print(f"model {name} is artifact {fitted.artifact.sha256[:12]}")
    print(f"folder {fitted.artifact.folder}")
    print(f"AUROC of Abnormal on the validation subset {in_words(fitted.validation_auroc)}")


@app.command()
def baseline(
    csv: Csv,
    model: Annotated[str, typer.Option(help="Name or hash of an artifact in CXR_MODEL_DIR.", envvar="CXR_MODEL")],
    images: Images = None,
) -> None:
    """Print the AUROC that a scan's mean pixel value alone has for Abnormal, over the model's test subset."""
    from db.settings import Settings, load_settings
    from trainer.baseline import artifact_named, baseline_of_artifact
    from trainer.fit import in_words

    artifact = artifact_named(model, load_settings(Settings).model_dir)
    found = baseline_of_artifact(csv, images, artifact)
    print(in_words(found.auroc))


def main() -> None:
    """The entry point."""
    run_command(app)


@contextmanager
def _stoppable(what_stays: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(what_stays) from error


def _kept(count: int) -> str:
    return f", {count} of them there already and kept" if count else ""


if __name__ == "__main__":
    main()
