"""`worker start`, `worker check` and `worker health`."""

from typing import Annotated

import typer

from worker.entry_point import run_command

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Score chest X-rays: hold a model, take chunks."
)

Model = Annotated[str | None, typer.Option(help="Name or hash of a model.", envvar="CXR_MODEL", show_default="active")]
Runtime = Annotated[
    str | None, typer.Option(help="auto, openvino or keras.", envvar="CXR_RUNTIME", show_default="auto")
]
Precision = Annotated[
    str | None, typer.Option(help="auto, float32, bfloat16 or int8.", envvar="CXR_PRECISION", show_default="auto")
]


@app.command()
def start(
    model: Model = None,
    gpus: Annotated[str, typer.Option(help="auto, all, none, or like 0,2 or GPU-1b2c.", envvar="CXR_GPUS")] = "auto",
    runtime: Runtime = None,
    precision: Precision = None,
) -> None:
    """Score what the queue brings, one pinned process per GPU (or one on the CPU), until stopped.

    With --model it scores for that model alone; without, it follows the active one.
    """
    from worker.supervision.start import start_worker

    start_worker(model=model, gpus=gpus, runtime=runtime, precision=precision)


@app.command()
def check(model: Model = None, runtime: Runtime = None, precision: Precision = None) -> None:
    """Load the model, score blank scans, and print the rate."""
    from worker.supervision.start import check_model

    check_model(model=model, runtime=runtime, precision=precision)


@app.command()
def health() -> None:
    """Whether this machine's workers are well, for a container's health check: exit 0, or 1 and one sentence."""
    import sys

    from db.settings import load_settings
    from worker.settings import WorkerSettings
    from worker.supervision.health import Unhealthy, check_health

    try:
        print(check_health(load_settings(WorkerSettings)))
    except Unhealthy as error:
        print(f"sick: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def main() -> None:
    """The entry point."""
    run_command(app)


if __name__ == "__main__":
    main()
