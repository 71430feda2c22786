"""The `producer` command line. Each command imports its body when it runs, so that `--help` is quick."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from db.labels.flags import with_reading
from db.labels.reading import DEFAULT_READING, Reading
from worker.entry_point import add_version_flag, run_command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Queue chest X-rays for scoring, follow runs and report accuracy.",
)
add_version_flag(app)
model_app = typer.Typer(
    no_args_is_help=True, help="List, publish and remove models, and choose the one that scores the next runs."
)
app.add_typer(model_app, name="model")

# A default that the ledger or another option decides is said in the help text: typer would print it in brackets, as if
# it could be typed.


class ExportFormat(Enum):
    """The file formats of an export."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


Csv = Annotated[
    Path | None,
    typer.Option(
        help="Labels CSV, see docs/labels.md. If omitted, every image in --images is scored, without labels.",
        envvar="CXR_CSV",
    ),
]
LabelsCsv = Annotated[Path, typer.Option("--csv", help="Labels CSV, see docs/labels.md.")]
Images = Annotated[
    str | None,
    typer.Option(
        help="Folder or s3://bucket/prefix of the images, or one image. If omitted, the folders next to the CSV.",
        envvar="CXR_IMAGES",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="Dataset name. Image names must be unique within it. "
        "If omitted, the CSV's file name without its extension, or else the name of the folder or prefix."
    ),
]
Model = Annotated[
    str | None, typer.Option(help="Name or hash of the model. If omitted, the active model.", envvar="CXR_MODEL")
]
Limit = Annotated[int | None, typer.Option(help="Use only the first N scans.", min=1)]
Rescore = Annotated[bool, typer.Option("--rescore", help="Score scans again that already have an outcome.")]
NoCheck = Annotated[
    bool, typer.Option("--no-check", help="Do not list --images; assume that each image lies there under its name.")
]
Moved = Annotated[
    bool, typer.Option("--moved", help="Known scans lie in another place now; score those again that have other bytes.")
]
CorrectPatients = Annotated[
    bool, typer.Option("--correct-patients", help="The CSV's patient ids are right where the ledger has others.")
]
StudyDate = Annotated[
    bool, typer.Option("--study-date", help="Also register the study dates of DICOM.", envvar="CXR_STUDY_DATE")
]
RunId = Annotated[
    int | None, typer.Option("--run", help="Run number. If omitted, the latest run.", min=1, max=2**31 - 1)
]
Reference = Annotated[
    int | None,
    typer.Option(
        help="Run that nights are compared with for drift. If omitted, the 30 nights before each.",
        envvar="CXR_DRIFT_REFERENCE",
        min=1,
        max=2**31 - 1,
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the report. If omitted, a folder in CXR_HOME/reports.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
@with_reading
def enqueue(
    *,
    csv: Csv = None,
    images: Images = None,
    reading: Reading = DEFAULT_READING,
    dataset: Dataset = None,
    model: Model = None,
    limit: Limit = None,
    rescore: Rescore = False,
    moved: Moved = False,
    correct_patients: CorrectPatients = False,
    study_date: StudyDate = False,
    no_check: NoCheck = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until the run ends.")] = False,
    as_json: Json = False,
) -> None:
    """Register the scans of a CSV, folder or bucket, and send those without an outcome to the workers."""
    from producer.commands import runs
    from producer.ingest.source import Source

    source = Source(
        csv=csv,
        images=images,
        reading=reading,
        dataset=dataset,
        model=model,
        limit=limit,
        rescore=rescore,
        moved=moved,
        correct_patients=correct_patients,
        study_dates=study_date,
        check=not no_check,
    )
    runs.enqueue_command(source, wait=wait, dry_run=dry_run, as_json=as_json)


@app.command()
@with_reading
def run(
    *,
    csv: Csv = None,
    images: Images = None,
    reading: Reading = DEFAULT_READING,
    dataset: Dataset = None,
    model: Model = None,
    limit: Limit = None,
    out: Out = None,
    rescore: Rescore = False,
    moved: Moved = False,
    correct_patients: CorrectPatients = False,
    study_date: StudyDate = False,
    reject_colour: Annotated[
        bool,
        typer.Option(
            "--reject-colour",
            help="Reject images that have colour in them, such as screenshots, instead of scoring them. "
            "Scans that have a score keep it, unless --rescore is given.",
            envvar="CXR_REJECT_COLOUR",
        ),
    ] = False,
    admit: Annotated[
        str | None,
        typer.Option(
            help="Score DICOM films although their headers speak against it: codes of docs/scans.md with commas "
            "between them, such as secondary_capture,view.",
            envvar="CXR_ADMIT",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Do it all on this machine: enqueue, start a worker, show progress, write the report."""
    from producer.commands import runs
    from producer.ingest.source import Source

    source = Source(
        csv=csv,
        images=images,
        reading=reading,
        dataset=dataset,
        model=model,
        limit=limit,
        rescore=rescore,
        moved=moved,
        correct_patients=correct_patients,
        study_dates=study_date,
    )
    runs.run_command(source, out, reject_colour=reject_colour, admit=admit, as_json=as_json)


@app.command()
@with_reading
def nightly(
    context: typer.Context,
    *,
    csv: Csv = None,
    images: Images = None,
    reading: Reading = DEFAULT_READING,
    dataset: Dataset = None,
    model: Model = None,
    at: Annotated[
        str | None, typer.Option(help="Time of day, HH:MM, at which each night begins.", envvar="CXR_NIGHTLY_AT")
    ] = None,
    tz: Annotated[str, typer.Option(help="Time zone of --at, such as Europe/Berlin.", envvar="CXR_NIGHTLY_TZ")] = "UTC",
    study_date: StudyDate = False,
    reference: Reference = None,
    now: Annotated[bool, typer.Option("--now", help="Do it once, now, and exit when the run ends; for cron.")] = False,
    as_json: Json = False,
) -> None:
    """Enqueue what is due every night, or once with --now; when the run ends, write its report and send a summary."""
    from producer.commands.nightly import nightly_command
    from producer.ingest.source import Source

    source = Source(csv=csv, images=images, reading=reading, dataset=dataset, model=model, study_dates=study_date)
    source_of_at = context.get_parameter_source("at")
    # CXR_NIGHTLY_AT is set in the container where a person types --now.
    if now and source_of_at is not None and source_of_at.name == "ENVIRONMENT":
        at = None
    nightly_command(source, at=at, zone=tz, now=now, reference=reference, as_json=as_json)


@app.command()
def status(
    run_id: RunId = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show progress until the run ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a run is, and what each worker does."""
    from producer.commands.status import status_command

    status_command(run_id, watch=watch, as_json=as_json)


@app.command()
def runs(
    limit: Annotated[int, typer.Option(help="Maximum number of runs.", min=1)] = 20, *, as_json: Json = False
) -> None:
    """List the runs, the newest first: their state, counts, model and source."""
    from producer.commands.status import runs_command

    runs_command(limit, as_json=as_json)


@app.command()
def resume(run_id: RunId = None, *, as_json: Json = False) -> None:
    """Send a run's pending scans to the workers again. A stopped run goes on."""
    from producer.commands import runs

    runs.resume_command(run_id, as_json=as_json)


@app.command()
def cancel(run_id: RunId = None, *, as_json: Json = False) -> None:
    """Cancel a run. Scans that no other run needs are skipped; the next enqueue picks them up."""
    from producer.commands import runs

    runs.cancel_command(run_id, as_json=as_json)


@app.command()
def failures(
    run_id: RunId = None,
    *,
    own: Annotated[
        bool, typer.Option("--new", help="Only scans that this run decided itself, not those of earlier runs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the scans of a run that could not be scored, by reason."""
    from producer.commands.failures import failures_command

    failures_command(run_id, own=own, as_json=as_json)


@app.command()
def report(
    run_id: RunId = None,
    out: Out = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label set to compare with: a name means its latest file, NAME@HASH that file. "
            "If omitted, or a name that the run's own label set has, the run's own."
        ),
    ] = None,
    subset: Annotated[
        str, typer.Option(help="held_out leaves out scans that the model was fitted or tuned on; all includes them.")
    ] = "held_out",
    thresholds: Annotated[
        str, typer.Option(help="Thresholds from 0 to 1, separated by commas.")
    ] = "0.3,0.4,0.5,0.6,0.7",
    *,
    finding: Annotated[
        str | None,
        typer.Option(help="Finding that text and page show first. If omitted, Abnormal if it is scored."),
    ] = None,
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            help="Share of scans with a finding where the model shall be used, such as Effusion=0.05: "
            "adds PPV and NPV there. May be repeated.",
            metavar="FINDING=SHARE",
        ),
    ] = None,
    reference: Reference = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Report a run that is not finished; the report is marked as partial.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare a run's scores with labels; print the figures and write them to a page and files."""
    from producer.commands import inspect_run

    options = inspect_run.ReportOptions(
        label_set=labels,
        subset=subset,
        thresholds=inspect_run.parse_thresholds(thresholds),
        finding=finding,
        prevalence=inspect_run.parse_prevalences(prevalence or ()),
        reference=reference,
    )
    inspect_run.report_command(run_id, out, options=options, partial=partial, as_json=as_json)


@app.command()
def compare(
    first: Annotated[
        int, typer.Argument(help="Run that is compared with; 'producer runs' lists them.", min=1, max=2**31 - 1)
    ],
    second: Annotated[
        int,
        typer.Argument(
            help="Run that is compared: differences are its figures minus those of the first.", min=1, max=2**31 - 1
        ),
    ],
    *,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label set to judge both runs by: NAME or NAME@HASH, as for report. "
            "If omitted, each run's own, and the other run's for a run without one."
        ),
    ] = None,
    subset: Annotated[
        str,
        typer.Option(help="held_out leaves out scans that either model was fitted or tuned on; all includes them."),
    ] = "held_out",
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Threshold of both models: a number from 0 to 1, or the name of one of their own, such as best_f1. "
            "If omitted, each model's own: youden, or else its first.",
            metavar="NAME|NUMBER",
        ),
    ] = None,
    finding: Annotated[
        str | None,
        typer.Option(help="Finding that text and page show first. If omitted, Abnormal if both models score it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the comparison. If omitted, a folder in CXR_HOME/reports.")
    ] = None,
    with_names: Annotated[
        bool, typer.Option("--with-names", help="List every scan whose prediction changed, with its image's name.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Compare runs that are not finished; the comparison is marked as partial.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the scores of two runs on the scans that both hold; print the differences, write a page and files."""
    from producer.commands.compare import compare_command

    compare_command(
        first,
        second,
        out,
        label_set=labels,
        subset=subset,
        threshold=threshold,
        finding=finding,
        with_names=with_names,
        partial=partial,
        as_json=as_json,
    )


@app.command()
def drift(
    run_id: Annotated[
        int | None, typer.Option("--run", help="Run of a night. If omitted, the latest night.", min=1, max=2**31 - 1)
    ] = None,
    reference: Reference = None,
    *,
    as_json: Json = False,
) -> None:
    """Show whether a night's scans differ from those of earlier nights or of a run: scores, rejects, kinds of scans."""
    from producer.commands.drift import drift_command

    drift_command(run_id, reference, as_json=as_json)


@app.command()
def export(
    run_id: RunId = None,
    out: Annotated[Path | None, typer.Option(help="File to write. If omitted, stdout.")] = None,
    export_format: Annotated[
        ExportFormat, typer.Option("--format", help="File format; json has one object a line for each scan.")
    ] = ExportFormat.CSV,
    *,
    wide: Annotated[
        bool, typer.Option("--wide", help="Write one row per scan instead of one per scan and finding.")
    ] = False,
    reviews: Annotated[
        bool,
        typer.Option("--reviews", help="Write what people said of the scores that the model gave the run's scans."),
    ] = False,
) -> None:
    """Write a run's results as a table, or as JSON for the program that sent the images; or its reviews."""
    from producer.commands import inspect_run

    inspect_run.export_command(run_id, out, export_format=export_format.value, wide=wide, reviews=reviews)


@app.command()
def browse(
    port: Annotated[
        int, typer.Option(help="Port on this machine. If omitted, any free one.", min=0, max=65_535, show_default=False)
    ] = 0,
) -> None:
    """Look at runs, worklists and films in a browser on this machine, and review scores."""
    from producer.commands.browse import browse_command

    browse_command(port)


@app.command()
@with_reading
def labels(
    *,
    csv: LabelsCsv,
    name: Annotated[
        str | None, typer.Option(help="Name of the label set. If it exists, the CSV may only add to it.")
    ] = None,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Print what would be read, with counts, and write nothing.")
    ] = False,
    reading: Reading = DEFAULT_READING,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Dataset of the labelled scans. "
            "If omitted, the CSV's file name without its extension, or else the latest run's dataset."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a labels CSV as a label set, without enqueueing. 'report --labels NAME' compares a run with it."""
    if inspect:
        from producer.commands.inspect_labels import inspect_command

        inspect_command(csv, reading, as_json=as_json)
        return
    from producer.commands import maintain

    maintain.labels_command(csv, name, dataset, reading, as_json=as_json)


@app.command()
def forget(
    patient: Annotated[str, typer.Option(help="Patient id, as in the CSV.")],
    dataset: Annotated[
        str | None, typer.Option(help="Dataset of the patient. If omitted, the only dataset with this id.")
    ] = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation; required without a terminal.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete a patient's scans, outcomes, scores, labels and reviews for good."""
    from producer.commands import maintain

    maintain.forget_command(patient, dataset, ask=not yes, as_json=as_json)


@app.command()
def prune(
    *,
    older_than: Annotated[int, typer.Option(help="Age in days from which on runs are deleted.", min=1, max=36_500)],
    as_json: Json = False,
) -> None:
    """Delete old finished runs, and the outcomes that no run shows any more."""
    from producer.commands import maintain

    maintain.prune_command(older_than, as_json=as_json)


@model_app.command("list")
def model_list(*, as_json: Json = False) -> None:
    """List every registered model."""
    from producer.commands import models

    models.list_command(as_json=as_json)


@model_app.command("activate")
def model_activate(
    name: Annotated[str, typer.Argument(help="Name or hash of the model.")], *, as_json: Json = False
) -> None:
    """Make a model the active one, which scores the next runs."""
    from producer.commands import models

    models.activate_command(name, as_json=as_json)


@model_app.command("publish")
def model_publish(
    folder: Annotated[
        Path, typer.Argument(help="The model's folder, such as ~/.local/share/nightread/models/0123456789ab.")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Copy a model that lies elsewhere into CXR_MODEL_DIR, a folder or s3://bucket/prefix."""
    from producer.commands import models

    models.publish_command(folder, as_json=as_json)


@model_app.command("remove")
def model_remove(
    name: Annotated[str, typer.Argument(help="Name or hash of the model.")],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation; required without a terminal.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete a model's files from CXR_MODEL_DIR. Its scores stay, and so does its name where it has any."""
    from producer.commands import models

    models.remove_command(name, ask=not yes, as_json=as_json)


@model_app.command("accept-export")
def model_accept_export(
    name: Annotated[str, typer.Argument(help="Name or hash of the model.")], *, as_json: Json = False
) -> None:
    """Let workers score with the exports of a model that lie in CXR_MODEL_DIR now, after it was exported again."""
    from producer.commands import models

    models.accept_export_command(name, as_json=as_json)


def main() -> None:
    """Run the command line."""
    run_command(app)


if __name__ == "__main__":
    main()
