"""The `trainer import` command."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from db.errors import EXIT_REJECTS
from worker.entry_point import printable, stoppable

if TYPE_CHECKING:
    from trainer.importing.description import Description
    from trainer.importing.import_model import Imported
    from worker.artifacts.manifest import Manifest

#: The model is published, but a part of what belongs beside it could not be made.
EXIT_INCOMPLETE: Final = EXIT_REJECTS
_PANEL: Final = "Description of the network (each flag replaces what the JSON states)"


def _described(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel=_PANEL)


def _print_list(*, wanted: bool) -> None:
    if wanted:
        from trainer.importing.public_weights import print_public_weights

        print_public_weights()
        raise typer.Exit


def import_weights(  # noqa: PLR0917 - typer wants one parameter per flag
    file: Annotated[
        Path, typer.Argument(help="Weights of a DenseNet: .safetensors, .h5 or .keras. No pickle is ever read.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new model.")],
    description: Annotated[
        Path | None,
        typer.Option(
            help="JSON that describes the network, see docs/import.md, or a name from --list. By default the file"
            " beside the weights whose name ends with .json instead.",
        ),
    ] = None,
    fitted_csv: Annotated[
        Path | None,
        typer.Option(
            help="Labels CSV of the scans that the network was fitted on, such as NIH's list. All count as seen;"
            " without it, nobody knows which were.",
            dir_okay=False,
        ),
    ] = None,
    export: Annotated[  # noqa: FBT002
        bool, typer.Option(help="Also publish an OpenVINO export, which scores faster on CPUs.")
    ] = True,
    show_list: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--list",
            help="Print the public weights that can be imported, and how to get them, and exit.",
            callback=lambda wanted: _print_list(wanted=wanted),
            is_eager=True,
        ),
    ] = False,
    outputs: Annotated[
        str | None,
        _described(
            "Findings of the network's outputs, in their order, such as Mass,,Nodule. An empty one is left out."
        ),
    ] = None,
    channels: Annotated[int | None, _described("Channels of the network's input: 1 or 3.")] = None,
    size: Annotated[int | None, _described("Height and width of the input, in pixels. \\[default: 224]")] = None,
    crop: Annotated[
        Literal["none", "center"] | None,
        _described("Crop before images are resized: center cuts the longer side to the shorter one. \\[default: none]"),
    ] = None,
    interpolation: Annotated[
        Literal["area", "linear"] | None, _described("Interpolation when images are resized. \\[default: area]")
    ] = None,
    range: Annotated[  # noqa: A002 - the flag's name
        tuple[float, float] | None,
        _described("What black and white are to the network, such as -1024 1024. \\[default: 0 255]"),
    ] = None,
    scaling: Annotated[
        Literal["range", "imagenet"] | None,
        _described("Scaling of pixels: linear over --range, or by ImageNet's means and deviations. \\[default: range]"),
    ] = None,
    rendering: Annotated[
        Literal["display", "full_range", "equalized"] | None,
        _described("Gray levels of DICOM films, as for trainer fit. \\[default: display]"),
    ] = None,
    bits: Annotated[
        int | None, _described("Bits that 16-bit PNGs and TIFFs use. By default they are found for each image.")
    ] = None,
    views: Annotated[str | None, _described("Views of the scans that it was fitted on, such as PA,AP.")] = None,
    source: Annotated[str | None, _described("Where the weights were published.")] = None,
    licence: Annotated[str | None, _described("Licence of the weights, as an SPDX identifier if it has one.")] = None,
    citation: Annotated[str | None, _described("What the authors of the weights ask to be cited.")] = None,
) -> None:
    """Publish a published DenseNet's weights as a model that workers score with.

    The same command makes what is missing beside the model. Exit code 3: published, but something is missing.
    """
    arguments = dict(locals())
    from db.home import open_home
    from db.settings import load_settings
    from trainer.console.progress import print_status
    from trainer.importing.description import Description, read_description
    from trainer.importing.fitted_scans import read_fitted_scans
    from trainer.importing.weights.pickles import refuse_pickle
    from worker.artifacts.model_store import open_model_store
    from worker.processes import native_stderr_muted
    from worker.settings import ModelSettings

    settings = load_settings(ModelSettings)
    # Of a wrong file, this is what a person must hear first.
    refuse_pickle(file)
    stated = {field: value for field, value in arguments.items() if field in Description.model_fields}
    described = read_description(description or _beside(file), stated | _split_lists(stated))
    with stoppable("nothing was published"):
        fitted = read_fitted_scans(fitted_csv) if fitted_csv else ()
        open_home(settings.home)
        models = open_model_store(settings.model_dir, settings.home)
        with native_stderr_muted():
            from trainer.importing.import_model import import_model
        imported = import_model(name, file, described, fitted, models=models, export=export)
    _print_import(imported, described)
    if imported.missing:
        lacking = printable("; ".join(imported.missing))
        print_status(
            f"incomplete: model {name} is published and usable, but lacks {lacking}; the same command makes the rest"
        )
        raise typer.Exit(EXIT_INCOMPLETE)


def _beside(file: Path) -> Path | None:
    """The description that a conversion writes beside the weights; None if it is not there."""
    path = file.parent / f"{file.stem}.json"
    return path if path.is_file() else None


def _split_lists(stated: Mapping[str, Any]) -> dict[str, list[str]]:
    texts = {field: stated[field] for field in ("outputs", "views") if stated[field] is not None}
    return {field: [one.strip() for one in text.split(",")] for field, text in texts.items()}


def _print_import(imported: "Imported", described: "Description") -> None:
    manifest, sha256 = imported.artifact.manifest, imported.artifact.sha256[:12]
    left_out = f"; left out {imported.left_out} that have no name here" if imported.left_out else ""
    print(f"read {manifest.encoder} with {imported.outputs} outputs: {', '.join(manifest.findings)}{left_out}")
    print(printable(_describe_fitted_scans(manifest)))
    print(printable(f"licence: {described.licence or 'not stated; ask the publisher before you use the weights'}"))
    if imported.was_there:
        print(f"model {manifest.name} had been imported before from the same file: it is artifact {sha256}")
    else:
        print(f"published model {manifest.name} as artifact {sha256}")
    print(f"folder {imported.artifact.folder}")
    model = shlex.quote(manifest.name)
    print(f"next: producer run --csv LABELS.csv --model {model}, or --images FOLDER where there are no labels")


def _describe_fitted_scans(manifest: "Manifest") -> str:
    if manifest.fitted_scans_unknown:
        return 'fitted on scans that nobody knows, so reports say "held out: unknown"; --fitted-csv may name them'
    scans = f"{manifest.about['scans_train']:,} scans"
    return f"fitted on at most the {scans} of {manifest.dataset}: these and their patients count as seen"
