"""The commands `trainer phantoms`, `import`, `fit`, `evaluate` and `export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.labels.flags import with_reading
from db.labels.reading import DEFAULT_READING, Reading
from trainer.fit_command import CsvFlag, ImagesFlag, fit
from trainer.import_command import import_weights
from worker.entry_point import add_version_flag, run_command, stoppable

if TYPE_CHECKING:
    from trainer.data.training_data import Source
    from worker.artifacts.manifest import Artifact
    from worker.artifacts.model_store import ModelStore

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fit or import a model, and publish the artifact that workers load.",
)
add_version_flag(app)

Model = Annotated[str, typer.Option(help="Name or hash of an artifact in CXR_MODEL_DIR.", envvar="CXR_MODEL")]
Seed = Annotated[
    int,
    typer.Option(help="Seed of all random numbers; the same seed draws the same images.", envvar="CXR_SEED", min=0),
]


@app.command()
def phantoms(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write images/ and the labels CSV to.", file_okay=False)],
    patients: Annotated[int, typer.Option(help="Number of patients; each has one to five scans.", min=1)] = 150,
    seed: Seed = 0,
    dicom: Annotated[
        bool,
        typer.Option("--dicom", help="Draw DICOM with the habits of many vendors, and files that must be rejected."),
    ] = False,
) -> None:
    """Draw synthetic radiographs with names and labels in NIH's layout, or with --dicom as hospitals have them.

    Images that are already in the folder are kept.
    """
    from trainer.console.progress import stage
    from trainer.phantoms.generate import make_phantoms, plan_files

    files = len(plan_files(patients=patients, seed=seed, dicom=dicom).files)
    what_stays = "the images drawn so far are kept; the same command draws the rest"
    with stoppable(what_stays), stage("drawing phantoms", files) as advance:
        made = make_phantoms(out, patients=patients, seed=seed, dicom=dicom, advance=advance)
    beside = f", and {made.others} other files that must be rejected or left out" if made.others else ""
    kept = files - made.drawn
    already_there = f"; {kept} of these files were already there and were kept" if kept else ""
    print(f"{made.csv}: {made.scans} synthetic scans of {patients} patients{beside}{already_there}")


app.command("import")(import_weights)
app.command()(fit)


@app.command()
@with_reading
def evaluate(
    *,
    model: Model,
    csv: CsvFlag,
    images: ImagesFlag = None,
    reading: Reading = DEFAULT_READING,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write evaluation.json to. By default CXR_HOME has one for each model and CSV.",
            file_okay=False,
        ),
    ] = None,
    include_seen: Annotated[
        bool,
        typer.Option("--include-seen", help="Also use scans and patients that the model was fitted or tuned on."),
    ] = False,
) -> None:
    """Evaluate a model on the scans of a CSV that it was not fitted or tuned on."""
    from trainer.data.training_data import Source
    from trainer.evaluation.evaluate_artifact import EVALUATION_FILE, evaluate_artifact, evaluation_json
    from trainer.evaluation.tables import print_tables
    from worker.artifacts.manifest import SYNTHETIC_NOTE
    from worker.files import write_file

    artifact, _, home, cache = _open_artifact(model)
    source = Source(csv=csv, images=images, reading=reading)
    with stoppable("nothing was written"):
        context, evaluation = evaluate_artifact(artifact, source, cache=cache, include_seen=include_seen)
    name = f"{artifact.sha256[:12]}-{context.dataset}" + ("-all" if include_seen else "")
    folder = out or home / "evaluations" / name
    written = write_file(folder / EVALUATION_FILE, evaluation_json(context, evaluation).encode())
    print_tables(evaluation)
    if artifact.manifest.synthetic:
        print(f"model {artifact.manifest.name} was {SYNTHETIC_NOTE}")
    if context.held_out_note:
        print(context.held_out_note)
    print(f"scans left out because the model was fitted or tuned on them or on their patients: {context.seen}")
    print(written)


@app.command()
@with_reading
def export(
    *,
    model: Model,
    csv: CsvFlag,
    images: ImagesFlag = None,
    reading: Reading = DEFAULT_READING,
    scans: Annotated[
        int,
        typer.Option(
            help="Number of the CSV's scans to compare scores on; with --int8, to calibrate the quantization on.", min=1
        ),
    ] = 256,
    tolerance: Annotated[float, typer.Option(help="Largest accepted difference from a score of Keras.", min=0)] = 1e-4,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Quantize the OpenVINO export to int8, if it stays accurate (see --max-loss)."),
    ] = False,
    max_loss: Annotated[
        float,
        typer.Option(help="With --int8: limit that the loss of mean AUROC must be proved to stay below.", min=0, max=1),
    ] = 0.01,
) -> None:
    """Export a model to ONNX and OpenVINO, if both score real scans as Keras does.

    The exports are written beside the Keras model. With --int8, only an int8 version of the OpenVINO export is
    written, if the validation scans prove that it is accurate; --csv must be the CSV that the model was fitted on.
    For a model without validation scans, such as an imported one, any labelled CSV will do: some of its patients
    calibrate, and the others prove it.
    """
    from trainer.data.training_data import Source

    artifact, models, _, cache = _open_artifact(model)
    source = Source(csv=csv, images=images, reading=reading)
    with stoppable("nothing was written"):
        if int8:
            _export_int8(artifact, source, models=models, cache=cache, scans=scans, max_loss=max_loss)
        else:
            _export_formats(artifact, source, models=models, cache=cache, scans=scans, tolerance=tolerance)
    print(f"written beside artifact {artifact.sha256[:12]} in {models.address}")
    name = artifact.manifest.name
    print(f"workers that know a former export refuse another one until 'producer model accept-export {name}'")


def main() -> None:
    """The entry point."""
    run_command(app)


def _open_artifact(model: str) -> tuple["Artifact", "ModelStore", Path, Path]:
    """The artifact of this name or hash, its store, `CXR_HOME`, and the folder of the pixel cache."""
    from db.home import open_home
    from db.settings import load_settings
    from worker.artifacts.model_store import find_by_name, open_model_store
    from worker.settings import ModelSettings

    settings = load_settings(ModelSettings)
    open_home(settings.home)
    models = open_model_store(settings.model_dir, settings.home)
    return find_by_name(model, models), models, settings.home, settings.trainer_folder / "pixels"


def _export_formats(
    artifact: "Artifact",
    source: "Source",
    *,
    models: "ModelStore",
    cache: Path,
    scans: int,
    tolerance: float,
) -> None:
    from trainer.publishing.export import export_artifact, load_scans

    compared = load_scans(artifact, source, count=scans, cache=cache)
    for name, export in export_artifact(artifact, compared, models=models, tolerance=tolerance).items():
        difference = f"scores differ from Keras' by at most {export.max_difference:.2g} on {export.scans} scans"
        print(f"{name}: {', '.join(export.files)}; {difference}")


def _export_int8(
    artifact: "Artifact",
    source: "Source",
    *,
    models: "ModelStore",
    cache: Path,
    scans: int,
    max_loss: float,
) -> None:
    from trainer.console.optional_packages import QUANTIZATION_PACKAGES, check_installed

    check_installed("trainer export --int8", QUANTIZATION_PACKAGES)
    from trainer.publishing.int8_scans import load_int8_scans
    from trainer.publishing.quantize import describe_int8, export_int8

    int8_scans = load_int8_scans(artifact, source, count=scans, cache=cache)
    print(describe_int8(export_int8(artifact, int8_scans, models=models, max_loss=max_loss)))


if __name__ == "__main__":
    main()
