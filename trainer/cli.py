"""`trainer phantoms`, `fit`, `evaluate` and `export`."""

from pathlib import Path
from typing import Annotated

import typer

from trainer.fit_command import fit
from worker.entry_point import run_command, stoppable

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Fit a model and publish the artifact that workers load."
)

Csv = Annotated[Path, typer.Option(help="Labels in NIH's layout.", dir_okay=False)]
Images = Annotated[
    str | None, typer.Option(help="Folder or s3://bucket/prefix.", envvar="CXR_IMAGES", show_default="beside the CSV")
]
Model = Annotated[str, typer.Option(help="Name or hash of an artifact in CXR_MODEL_DIR.", envvar="CXR_MODEL")]
Seed = Annotated[int, typer.Option(help="The same seed, the same result.", envvar="CXR_SEED", min=0)]


@app.command()
def phantoms(
    out: Annotated[Path, typer.Option(help="Folder for images/ and sample_labels.csv.", file_okay=False)],
    patients: Annotated[int, typer.Option(help="Each is scanned one to five times.", min=1)] = 150,
    seed: Seed = 0,
) -> None:
    """Make synthetic radiographs with NIH's names and labels; what is there already is kept."""
    from trainer.console.progress import stage
    from trainer.phantoms.generate import make_phantoms, plan_phantoms

    scans = len(plan_phantoms(patients=patients, seed=seed))
    with stoppable("the images drawn so far stay, the same command goes on"), stage("phantoms", scans) as advance:
        made = make_phantoms(out, patients=patients, seed=seed, advance=advance)
    print(f"{made.csv}: {made.scans} synthetic scans of {patients} patients" + _kept(made.scans - made.drawn))


app.command()(fit)


@app.command()
def evaluate(
    model: Model,
    csv: Csv,
    images: Images = None,
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json.", file_okay=False)] = Path("evaluation"),
    include_seen: Annotated[  # noqa: FBT002
        bool, typer.Option("--include-seen", help="Judge on scans and patients that it was fitted on, too.")
    ] = False,
) -> None:
    """Judge a model on the scans of a CSV that it was not fitted or tuned on."""
    from db.settings import Settings, load_settings
    from trainer.console.optional_packages import JUDGES, check_installed

    check_installed("trainer evaluate", JUDGES)
    from trainer.evaluation.evaluate_artifact import EVALUATION_FILE, evaluate_artifact, evaluation_json
    from trainer.evaluation.tables import show
    from worker.artifacts.model_store import find_by_name, open_model_store
    from worker.files import write_file

    settings = load_settings(Settings)
    artifact = find_by_name(model, open_model_store(settings.model_dir, settings.home))
    cache = settings.home / "trainer" / "pixels"
    with stoppable("nothing was written"):
        of, evaluation = evaluate_artifact(artifact, csv, images, cache=cache, include_seen=include_seen)
    written = write_file(out / EVALUATION_FILE, evaluation_json(of, evaluation).encode())
    show(evaluation)
    print(f"{of.seen} scans left out, for they or their patients were fitted or tuned on")
    print(written)


@app.command()
def export(
    *,
    model: Model,
    csv: Csv,
    images: Images = None,
    scans: Annotated[
        int, typer.Option(help="Scans of the CSV to compare scores on; with --int8, to calibrate on.", min=1)
    ] = 256,
    tolerance: Annotated[float, typer.Option(help="The largest difference of a score that is accepted.", min=0)] = 1e-4,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Write the OpenVINO export in int8, too, unless findings are told apart worse."),
    ] = False,
    max_loss: Annotated[
        float, typer.Option(help="With --int8: the loss of mean AUROC must be proved to lie below.", min=0, max=1)
    ] = 0.01,
) -> None:
    """Write the model as ONNX and OpenVINO beside the Keras model, unless their scores differ on real scans.

    With --int8, write what is there for OpenVINO in eight bits, proved on the validation scans of the CSV of the fit.
    """
    from db.settings import Settings, load_settings
    from trainer.console.optional_packages import QUANTIZERS, check_installed
    from worker.artifacts.model_store import find_by_name, open_model_store

    settings = load_settings(Settings)
    models = open_model_store(settings.model_dir, settings.home)
    artifact = find_by_name(model, models)
    cache = settings.home / "trainer" / "pixels"
    with stoppable("nothing was written"):
        if int8:
            check_installed("trainer export --int8", QUANTIZERS)
            from trainer.publishing.quantize import describe_int8, export_int8, load_int8_scans

            judged = load_int8_scans(artifact, csv, images, count=scans, cache=cache)
            print(describe_int8(export_int8(artifact, judged, models=models, max_loss=max_loss)))
        else:
            from trainer.publishing.export import export_artifact, load_scans

            compared = load_scans(artifact, csv, images, count=scans, cache=cache)
            for name, one in export_artifact(artifact, compared, models=models, tolerance=tolerance).items():
                difference = f"scores differ from Keras' by at most {one.max_difference:.2g} on {one.scans} scans"
                print(f"{name}: {', '.join(one.files)}; {difference}")
    print(f"beside artifact {artifact.sha256[:12]} in {models.address}")


def main() -> None:
    """The entry point."""
    run_command(app)


def _kept(count: int) -> str:
    return f", {count} of them there already and kept" if count else ""


if __name__ == "__main__":
    main()
