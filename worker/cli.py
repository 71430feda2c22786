"""The command line: `worker start`, `worker check` and `worker health`."""

from typing import Annotated

import typer

from worker.entry_point import run_command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Score chest X-rays: hold a model in memory and work on the chunks in its queue.",
)

# No default on the command line: the setting's own default, or its _FILE twin, must not be overridden.
Runtime = Annotated[
    str | None,
    typer.Option(
        help="Inference runtime: auto (the default), openvino, tensorflow or keras.",
        envvar="CXR_RUNTIME",
        show_default=False,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Arithmetic of the model: auto (the default), float32, bfloat16 or int8. auto never chooses int8.",
        envvar="CXR_PRECISION",
        show_default=False,
    ),
]


@app.command()
def start(
    model: Annotated[
        str | None,
        typer.Option(
            help="Name or hash of the only model to serve. By default the worker follows the active model.",
            envvar="CXR_MODEL",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        str,
        typer.Option(
            help="GPUs to score on: auto (every GPU, or the CPU where there is none), all, none (the CPU), or indices "
            "or UUIDs as nvidia-smi shows them, such as 0,2 or GPU-1b2c.",
            envvar="CXR_GPUS",
        ),
    ] = "auto",
    runtime: Runtime = None,
    precision: Precision = None,
) -> None:
    """Score the queue's chunks until stopped, with one pinned process per GPU, or one on the CPU."""
    from worker.supervision.start import start_worker

    start_worker(model=model, gpus=gpus, runtime=runtime, precision=precision)


@app.command()
def check(
    model: Annotated[
        str | None,
        typer.Option(
            help="Name or hash of the model. The default is the active model.", envvar="CXR_MODEL", show_default=False
        ),
    ] = None,
    runtime: Runtime = None,
    precision: Precision = None,
) -> None:
    """Load a model, score blank scans, and print the rate."""
    from worker.supervision.start import check_model

    check_model(model=model, runtime=runtime, precision=precision)


@app.command()
def health() -> None:
    """Check this machine's workers, as a container's health check: exit code 0, or 1 and the reason."""
    import sys

    from db.settings import load_settings
    from worker.settings import WorkerSettings
    from worker.supervision.health import Unhealthy, check_health

    try:
        print(check_health(load_settings(WorkerSettings)))
    except Unhealthy as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def main() -> None:
    """The entry point."""
    run_command(app)


if __name__ == "__main__":
    main()
