"""The commands of the producer. Bodies are imported when they run: `--help` must be quick."""

from pathlib import Path
from typing import Annotated

import typer

from worker.terminal import run_command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Have chest X-rays scored, and read how good the scores are.",
)
model_app = typer.Typer(no_args_is_help=True, help="Which models there are, and which one scores the next runs.")
app.add_typer(model_app, name="model")

Csv = Annotated[Path, typer.Option(help="A labels CSV in the NIH layout.", envvar="CXR_CSV")]
Images = Annotated[
    str | None,
    typer.Option(help="Folder or s3://bucket/prefix.", envvar="CXR_IMAGES", show_default="beside the CSV"),
]
Model = Annotated[
    str | None, typer.Option(help="Name or hash of a model.", envvar="CXR_MODEL", show_default="the active one")
]
Limit = Annotated[int | None, typer.Option(help="Only the first N rows.", min=1)]
Rescore = Annotated[bool, typer.Option("--rescore", help="Score again what has scores already.")]
RunId = Annotated[int | None, typer.Option("--run", help="A run's number.", show_default="the latest")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def enqueue(
    csv: Csv,
    images: Images = None,
    model: Model = None,
    limit: Limit = None,
    *,
    rescore: Rescore = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
) -> None:
    """Register a CSV's scans and send those without an outcome to the workers."""
    from producer import commands
    from producer.enqueue import Source

    commands.enqueue_command(Source(csv=csv, images=images, model=model, limit=limit, rescore=rescore), wait=wait)


@app.command()
def run(
    csv: Csv,
    images: Images = None,
    model: Model = None,
    limit: Limit = None,
    *,
    rescore: Rescore = False,
    out: Annotated[Path | None, typer.Option(help="Where the report goes.", show_default="CXR_HOME/reports")] = None,
) -> None:
    """The same on this machine alone: enqueue, a worker, a progress bar, the report."""
    from producer import commands
    from producer.enqueue import Source

    commands.run_locally(Source(csv=csv, images=images, model=model, limit=limit, rescore=rescore), out)


@app.command()
def status(
    run_id: RunId = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    as_json: Json = False,
) -> None:
    """How far a run is."""
    from producer import commands

    commands.show_status(run_id, watch=watch, as_json=as_json)


@app.command()
def resume(run_id: RunId = None) -> None:
    """Send again what still waits in a run."""
    from producer import commands

    commands.resume_run(run_id)


@app.command()
def failures(run_id: RunId = None, *, as_json: Json = False) -> None:
    """The scans of a run that could not be scored, and why."""
    from producer import commands

    commands.show_failures(run_id, as_json=as_json)


@app.command()
def report(
    run_id: RunId = None,
    out: Annotated[Path | None, typer.Option(help="Where the report goes.", show_default="CXR_HOME/reports")] = None,
    subset: Annotated[
        str, typer.Option(help="held_out, or all: with scans that the model was fitted or tuned on.")
    ] = "held_out",
    *,
    partial: Annotated[bool, typer.Option("--partial", help="Report an unfinished run, marked so.")] = False,
    as_json: Json = False,
) -> None:
    """How good a run's scores are, across thresholds."""
    from producer import commands

    commands.make_report(run_id, out, subset=subset, partial=partial, as_json=as_json)


@model_app.command("list")
def model_list(*, as_json: Json = False) -> None:
    """Every registered model."""
    from producer import commands

    commands.show_models(as_json=as_json)


@model_app.command("activate")
def model_activate(name: Annotated[str, typer.Argument(help="Name or hash of a model.")]) -> None:
    """Make a model the one that scores the next runs."""
    from producer import commands

    commands.activate_model(name)


def main() -> None:
    """The entry point."""
    run_command(app)


if __name__ == "__main__":
    main()
