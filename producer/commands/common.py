"""What all commands share: opening the ledger, loading a run, printing results and exiting."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from sqlalchemy import Engine

from db.counted import counted
from db.engine.session import open_database, read_transaction
from db.errors import EXIT_REJECTS
from db.home import open_home
from db.labels.words import describe_ignored
from db.ledger.runs import Progress, RunInfo, find_run, progress
from db.settings import load_settings
from producer.json_output import as_json
from worker.artifacts.store_contents import UnusableFolder
from worker.entry_point import printable
from worker.settings import WorkerSettings

out = Console(soft_wrap=True, highlight=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


def open_ledger(**given: Any) -> tuple[WorkerSettings, Engine]:
    """Load the settings, except for those that are given, and open CXR_HOME and the database."""
    settings = load_settings(WorkerSettings, **given)
    open_home(settings.home)
    return settings, open_database(settings.database_url)


def load_run(engine: Engine, run_id: int | None) -> tuple[RunInfo, Progress]:
    """Load a run (None: the latest) and its progress.

    Raises:
        UserError: there is no such run.
    """
    with read_transaction(engine) as connection:
        run = find_run(connection, run_id)
        return run, progress(connection, run.id)


def print_line(text: str) -> None:
    """Print a line of the result; names in it are neither rich markup nor control sequences of the terminal."""
    out.print(printable(text), markup=False)


def print_columns(titles: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Print a table of plain text whose lines are never broken; numbers stand on the right of their column.

    Text from files stands in the last columns, because wide characters and long names move what follows them.
    """
    table = [titles, *rows]
    is_number = [isinstance(cell, int) for cell in table[-1]]
    texts = [[f"{cell:,}" if isinstance(cell, int) else on_one_line(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for cells in texts:
        aligned = zip(cells, widths, is_number, strict=True)
        print_line(
            "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in aligned).rstrip()
        )


def on_one_line(name: str) -> str:
    """A name from a file or a database as part of a line."""
    return printable(name).replace("\n", "\N{REPLACEMENT CHARACTER}")


def print_unusable(folders: Iterable[UnusableFolder]) -> None:
    """Print a warning on stderr for each model folder that cannot be used."""
    for folder in folders:
        err.print(f"warning: a model folder is ignored: {folder.problem}", markup=False)


def print_ignored(ignored: Mapping[str, int]) -> None:
    """Print the words of a labels CSV that were left out, if there are any."""
    if ignored:
        print_line(describe_ignored(ignored))


def print_json(value: object) -> None:
    """Print a result as JSON."""
    print(as_json(value))


def format_progress(counts: Progress) -> str:
    """A run's progress as one line of text."""
    return (
        f"{counted(counts.expected, 'scan')}: {counts.scored:,} scored, {counts.rejected:,} rejected, "
        f"{counts.quarantined:,} quarantined, {counts.pending:,} pending ({counts.reused:,} reused)"
    )


def run_as_dict(run: RunInfo, counts: Progress) -> dict[str, object]:
    """A run and its progress as one flat JSON object."""
    told = {key: value for key, value in asdict(run).items() if key != "id"}
    return {"run_id": run.id, **told, "state": run.state, **asdict(counts)}


def exit_on_rejects(counts: Progress) -> None:
    """Exit with 3 if a scan of the run was rejected or quarantined."""
    if counts.rejected or counts.quarantined:
        sys.exit(EXIT_REJECTS)
