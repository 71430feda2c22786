"""What all commands share: the open ledger, and how results are printed."""

import sys
from dataclasses import asdict

from rich.console import Console
from sqlalchemy import Engine

from db.engine.session import open_database, read_transaction
from db.errors import EXIT_REJECTS
from db.ledger.runs import Progress, RunInfo, find_run, progress
from db.settings import load_settings
from producer.json_output import as_json
from worker.entry_point import printable
from worker.settings import WorkerSettings

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def open_ledger() -> tuple[WorkerSettings, Engine]:
    """The settings and the database; says where home is."""
    settings = load_settings(WorkerSettings)
    err.print(f"home: {settings.home}", markup=False)
    return settings, open_database(settings.database_url)


def find(engine: Engine, run_id: int | None) -> tuple[RunInfo, Progress]:
    """A run (default the latest) and how far it is."""
    with read_transaction(engine) as connection:
        run = find_run(connection, run_id)
        return run, progress(connection, run.id)


def say(text: str) -> None:
    """Print a line of the result; names in it are names, neither markup nor orders to the terminal."""
    out.print(printable(text), markup=False)


def print_json(value: object) -> None:
    """Print a result for programs."""
    print(as_json(value))


def counts(now: Progress) -> str:
    """A run's progress in words."""
    return (
        f"{now.expected:,} scans: {now.scored:,} scored, {now.rejected:,} rejected, {now.quarantined:,} quarantined, "
        f"{now.pending:,} pending ({now.reused:,} reused)"
    )


def flat(run: RunInfo, now: Progress) -> dict[str, object]:
    """A run and its progress as one JSON object."""
    return {"run_id": run.id, **{key: value for key, value in asdict(run).items() if key != "id"}, **asdict(now)}


def exit_by(now: Progress) -> None:
    """Exit 3 where a scan could not be scored."""
    if now.rejected or now.quarantined:
        sys.exit(EXIT_REJECTS)
