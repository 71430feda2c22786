"""The flags of every command with --csv that say how the file is read. They reach the command as one `Reading`."""

import inspect
import re
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from db.errors import UserError
from db.labels.reading import Blank, Columns, LayoutChoice, Reading, Uncertain

_option: Final = partial(typer.Option, rich_help_panel="How the CSV is read (docs/labels.md)")

ImageColumn = Annotated[
    str | None,
    _option(help="CSV column with the image names. If omitted, 'Image Index' or another common name."),
]
LabelColumn = Annotated[
    str | None,
    _option(
        help="CSV column with the findings. If omitted, 'Finding Labels' or another common name, "
        "or else the columns that are named after findings."
    ),
]
PatientColumn = Annotated[
    str | None,
    _option(help="CSV column with the patient ids. If omitted, 'Patient ID' or another common name."),
]
PatientPattern = Annotated[
    str | None,
    _option(
        metavar="REGEX",
        help=r"Take the patient id from the image name, by a regular expression with one group: 'patient(\d+)'.",
    ),
]
LayoutFlag = Annotated[
    LayoutChoice,
    _option(
        help="list: findings in one cell; columns: one column a finding; rows: one row a finding or box. "
        "auto decides by the header."
    ),
]
UncertainFlag = Annotated[
    Uncertain,
    _option(help="What -1 means in a column of a finding; ignore counts it as neither positive nor negative."),
]
BlankFlag = Annotated[
    Blank,
    _option(
        help="What an empty cell means in a column of a finding; negative as CheXpert's authors train, ignore unknown."
    ),
]
Map = Annotated[
    list[str] | None,
    _option(
        "--map",
        metavar="TERM=FINDING",
        help="Read your own term or column name as a finding; TERM= means none. May be repeated.",
    ),
]
MapFile = Annotated[
    Path | None,
    _option(help="CSV of two columns, term and finding, each row of which is read like a --map.", dir_okay=False),
]
IgnoreUnknown = Annotated[
    bool,
    _option("--ignore-unknown", help="Leave out words that are not known, and count them."),
]


def make_reading(
    *,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    patient_pattern: PatientPattern = None,
    layout: LayoutFlag = "auto",
    uncertain: UncertainFlag = "ignore",
    blank: BlankFlag = "negative",
    mapped: Map = None,
    map_file: MapFile = None,
    ignore_unknown: IgnoreUnknown = False,
) -> Reading:
    """How a CSV is read by these flags, which are this function's parameters.

    Raises:
        UserError: a flag is wrong, two contradict each other, or the file of --map-file is.
    """
    if patient_column and patient_pattern:
        raise UserError("--patient-column and --patient-pattern both say who the patient is; leave one of them out")
    if label_column and layout == "columns":
        raise UserError("--label-column names a column of lists, which --layout columns does not read; leave one out")
    _check_pattern(patient_pattern)
    # Not at the top: a command's --help does not need it.
    from db.labels.terms import parse_terms

    return Reading(
        columns=Columns(image=image_column, labels=label_column, patient=patient_column),
        layout=layout,
        uncertain=uncertain,
        blank=blank,
        mapped=parse_terms(mapped or (), map_file),
        ignore_unknown=ignore_unknown,
        patient_pattern=patient_pattern,
    )


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of `make_reading` where it has the parameter `reading`."""
    own = inspect.signature(command, eval_str=True)
    flags = inspect.signature(make_reading, eval_str=True)

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in flags.parameters}
        command(**given, reading=make_reading(**chosen))

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += flags.parameters.values() if parameter.name == "reading" else [parameter]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    # typer reads both.
    run.__signature__ = own.replace(parameters=keyword_only)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _check_pattern(pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UserError(f"--patient-pattern {pattern!r} is not a regular expression: {error}") from error
    if groups != 1:
        raise UserError(
            f"--patient-pattern {pattern!r} has {groups} groups: put the patient's id, and nothing else, in brackets, "
            r"as in 'patient(\d+)'"
        )
