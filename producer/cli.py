"""The commands of the producer. Bodies are imported when they run: `--help` must be quick."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from worker.entry_point import run_command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Have chest X-rays scored, and read how good the scores are.",
)
model_app = typer.Typer(no_args_is_help=True, help="Which models there are, and which one scores the next runs.")
app.add_typer(model_app, name="model")


class Kind(Enum):
    """What an export is written as."""

    CSV = "csv"
    PARQUET = "parquet"


Csv = Annotated[
    Path | None, typer.Option(help="A labels CSV in the NIH layout.", envvar="CXR_CSV", show_default="none: --images")
]
LabelsCsv = Annotated[Path, typer.Option("--csv", help="A labels CSV in the NIH layout.")]
Images = Annotated[
    str | None,
    typer.Option(help="Folder or s3://bucket/prefix.", envvar="CXR_IMAGES", show_default="beside the CSV"),
]
ImageColumn = Annotated[str | None, typer.Option(help="The CSV's column of image names.", show_default="NIH's")]
LabelColumn = Annotated[str | None, typer.Option(help="The CSV's column of findings.", show_default="NIH's")]
PatientColumn = Annotated[str | None, typer.Option(help="The CSV's column of patient ids.", show_default="NIH's")]
Dataset = Annotated[
    str | None, typer.Option(help="What image names are unique in.", show_default="the CSV's stem or folder's name")
]
Model = Annotated[
    str | None, typer.Option(help="Name or hash of a model.", envvar="CXR_MODEL", show_default="the active one")
]
Limit = Annotated[int | None, typer.Option(help="Only the first N scans.", min=1)]
Rescore = Annotated[bool, typer.Option("--rescore", help="Score again what has scores already.")]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not look for images: each lies in --images by its name.")]
RunId = Annotated[
    int | None, typer.Option("--run", help="A run's number.", min=1, max=2**31 - 1, show_default="the latest")
]
Out = Annotated[Path | None, typer.Option(help="The report's folder.", show_default="CXR_HOME/reports/...")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def enqueue(
    *,
    csv: Csv = None,
    images: Images = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    dataset: Dataset = None,
    model: Model = None,
    limit: Limit = None,
    rescore: Rescore = False,
    no_check: NoCheck = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    as_json: Json = False,
) -> None:
    """Register a source's scans and send those without an outcome to the workers."""
    from db.labels.csv_file import Columns
    from producer.commands import runs
    from producer.ingest.source import Source

    columns = Columns(image=image_column, labels=label_column, patient=patient_column)
    source = Source(
        csv=csv,
        images=images,
        columns=columns,
        dataset=dataset,
        model=model,
        limit=limit,
        rescore=rescore,
        check=not no_check,
    )
    runs.enqueue_command(source, wait=wait, dry_run=dry_run, as_json=as_json)


@app.command()
def run(
    *,
    csv: Csv = None,
    images: Images = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    dataset: Dataset = None,
    model: Model = None,
    limit: Limit = None,
    out: Out = None,
    rescore: Rescore = False,
    as_json: Json = False,
) -> None:
    """The same on this machine alone: enqueue, a worker, a progress bar, the report."""
    from db.labels.csv_file import Columns
    from producer.commands import runs
    from producer.ingest.source import Source

    columns = Columns(image=image_column, labels=label_column, patient=patient_column)
    source = Source(csv=csv, images=images, columns=columns, dataset=dataset, model=model, limit=limit, rescore=rescore)
    runs.run_locally(source, out, as_json=as_json)


@app.command()
def nightly(
    context: typer.Context,
    *,
    csv: Csv = None,
    images: Images = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    dataset: Dataset = None,
    model: Model = None,
    at: Annotated[
        str | None, typer.Option(help="Local time, HH:MM: once every night.", envvar="CXR_NIGHTLY_AT")
    ] = None,
    tz: Annotated[str, typer.Option(help="The time zone of --at, by IANA's name.", envvar="CXR_NIGHTLY_TZ")] = "UTC",
    now: Annotated[bool, typer.Option("--now", help="Once, now, to the end: for cron.")] = False,
    as_json: Json = False,
) -> None:
    """Every night, or --now: enqueue what is due, report when the run closes, send a summary."""
    from db.labels.csv_file import Columns
    from producer.commands.nightly import nightly_command
    from producer.ingest.source import Source

    columns = Columns(image=image_column, labels=label_column, patient=patient_column)
    source = Source(csv=csv, images=images, columns=columns, dataset=dataset, model=model)
    source_of_at = context.get_parameter_source("at")
    # A container's variable does not contradict what a person types in it.
    if now and source_of_at is not None and source_of_at.name == "ENVIRONMENT":
        at = None
    nightly_command(source, at=at, zone=tz, now=now, as_json=as_json)


@app.command()
def status(
    run_id: RunId = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    as_json: Json = False,
) -> None:
    """How far a run is."""
    from producer.commands import inspect_run

    inspect_run.show_status(run_id, watch=watch, as_json=as_json)


@app.command()
def resume(run_id: RunId = None, *, as_json: Json = False) -> None:
    """Send again what still waits in a run."""
    from producer.commands import runs

    runs.resume_command(run_id, as_json=as_json)


@app.command()
def cancel(run_id: RunId = None, *, as_json: Json = False) -> None:
    """Stop a run: what no other run waits for is not scored; the next enqueue takes it up again."""
    from producer.commands import runs

    runs.cancel_command(run_id, as_json=as_json)


@app.command()
def failures(run_id: RunId = None, *, as_json: Json = False) -> None:
    """The scans of a run that could not be scored, and why."""
    from producer.commands import inspect_run

    inspect_run.show_failures(run_id, as_json=as_json)


@app.command()
def report(
    run_id: RunId = None,
    out: Out = None,
    labels: Annotated[str | None, typer.Option(help="A label set's name.", show_default="the run's own")] = None,
    subset: Annotated[
        str, typer.Option(help="held_out, or all: with scans that the model was fitted or tuned on.")
    ] = "held_out",
    thresholds: Annotated[
        str | None, typer.Option(help="Numbers from 0 to 1.", show_default="0.3,0.4,0.5,0.6,0.7")
    ] = None,
    *,
    partial: Annotated[bool, typer.Option("--partial", help="Report an unfinished run, marked so.")] = False,
    as_json: Json = False,
) -> None:
    """How good a run's scores are, across thresholds."""
    from producer.commands import inspect_run

    which = inspect_run.Which(labels=labels, subset=subset, thresholds=inspect_run.read_thresholds(thresholds))
    inspect_run.make_report(run_id, out, which=which, partial=partial, as_json=as_json)


@app.command()
def export(
    run_id: RunId = None,
    out: Annotated[Path | None, typer.Option(help="A file.", show_default="stdout")] = None,
    kind: Annotated[Kind, typer.Option("--format", help="csv or parquet.")] = Kind.CSV,
    *,
    wide: Annotated[bool, typer.Option("--wide", help="One row a scan, instead of one a finding.")] = False,
) -> None:
    """A run's results as a table, streamed."""
    from producer.commands import inspect_run

    inspect_run.export_command(run_id, out, kind=kind.value, wide=wide)


@app.command()
def labels(
    *,
    csv: LabelsCsv,
    name: Annotated[str, typer.Option(help="The label set's name.")],
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    dataset: Annotated[
        str | None, typer.Option(help="Whose scans are labelled.", show_default="the CSV's stem, or the latest run's")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a labels CSV beside those there are, without enqueueing: 'report --labels NAME' judges runs by it."""
    from db.labels.csv_file import Columns
    from producer.commands import maintain

    columns = Columns(image=image_column, labels=label_column, patient=patient_column)
    maintain.labels_command(csv, name, dataset, columns, as_json=as_json)


@app.command()
def forget(
    patient: Annotated[str, typer.Option(help="The patient's id, as in the CSV.")],
    dataset: Annotated[str | None, typer.Option(help="Whose patient.", show_default="the only one with the id")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a patient's scans, outcomes, scores and labels for good."""
    import sys

    from producer.commands import maintain

    # A script has nobody to ask.
    maintain.forget_command(patient, dataset, ask=not yes and sys.stdin.isatty(), as_json=as_json)


@app.command()
def prune(*, older_than: Annotated[int, typer.Option(help="Days.", min=1, max=36_500)], as_json: Json = False) -> None:
    """Delete old finished runs, with the outcomes that were only theirs."""
    from producer.commands import maintain

    maintain.prune_command(older_than, as_json=as_json)


@model_app.command("list")
def model_list(*, as_json: Json = False) -> None:
    """Every registered model."""
    from producer.commands import maintain

    maintain.show_models(as_json=as_json)


@model_app.command("activate")
def model_activate(
    name: Annotated[str, typer.Argument(help="Name or hash of a model.")], *, as_json: Json = False
) -> None:
    """Make a model the one that scores the next runs."""
    from producer.commands import maintain

    maintain.activate_model(name, as_json=as_json)


def main() -> None:
    """The entry point."""
    run_command(app)


if __name__ == "__main__":
    main()
