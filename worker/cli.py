"""The command line: `worker start`, `worker check` and `worker health`."""

from typing import Annotated, Any

import typer

from worker.entry_point import add_version_flag, run_command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Score chest X-rays: hold a model in memory and work on the chunks in its queue.",
)
add_version_flag(app)


def _option(variable: str, text: str) -> Any:
    # Defaults of None stand in the text: a value here would override the variable's _FILE twin.
    return typer.Option(help=text, envvar=variable, show_default=variable == "CXR_GPUS")


Model = Annotated[str | None, _option("CXR_MODEL", "Name or hash of a model (default: the active model).")]
Gpus = Annotated[
    str,
    _option(
        "CXR_GPUS",
        "GPUs to score on: auto (all, or the CPU where there is none), all, none (the CPU), or nvidia-smi's indices or "
        "UUIDs, such as 0,2 or GPU-1b2c.",
    ),
]
Runtime = Annotated[str | None, _option("CXR_RUNTIME", "Runtime: auto (default), openvino or keras.")]
Precision = Annotated[
    str | None, _option("CXR_PRECISION", "Arithmetic of the model: auto (default), float32, bfloat16 or int8.")
]
RejectColour = Annotated[
    bool,
    typer.Option(
        "--reject-colour",
        help="Reject images that have colour in them, such as screenshots, instead of scoring them.",
        envvar="CXR_REJECT_COLOUR",
    ),
]
Admit = Annotated[
    str | None,
    _option(
        "CXR_ADMIT",
        "Score DICOM films although their headers speak against it: codes of docs/scans.md with commas between them, "
        "such as secondary_capture,view.",
    ),
]


@app.command()
def start(
    *,
    model: Model = None,
    gpus: Gpus = "auto",
    runtime: Runtime = None,
    precision: Precision = None,
    reject_colour: RejectColour = False,
    admit: Admit = None,
) -> None:
    """Score the queue's chunks until stopped, with one pinned process per GPU, or one on the CPU.

    With --model it scores for that model alone; without, it follows the active one.
    """
    from worker.supervision.start import start_worker

    start_worker(model=model, gpus=gpus, runtime=runtime, precision=precision, reject_colour=reject_colour, admit=admit)


@app.command()
def check(model: Model = None, runtime: Runtime = None, precision: Precision = None) -> None:
    """Load a model, score blank scans, and print the rate."""
    from worker.supervision.start import check_model

    check_model(model=model, runtime=runtime, precision=precision)


@app.command()
def health(
    *,
    ready: Annotated[
        bool, typer.Option("--ready", help="Require also that every worker has loaded its model and takes chunks.")
    ] = False,
) -> None:
    """Check this machine's workers, as a container's health check: exit code 0, or 1 and the reason.

    A worker that is loading its model, or waits for one, is healthy but not ready.
    """
    import sys

    from db.settings import load_settings
    from worker.settings import WorkerSettings
    from worker.supervision.health import Unhealthy, check_health

    try:
        print(check_health(load_settings(WorkerSettings), ready=ready))
    except Unhealthy as error:
        print(f"{'not ready' if ready else 'unhealthy'}: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def main() -> None:
    """The entry point."""
    run_command(app)


if __name__ == "__main__":
    main()
