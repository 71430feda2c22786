"""Commands that maintain the ledger: labels, forget, prune."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import typer
from sqlalchemy import Engine

from db.close_run import close_finished_runs
from db.counted import counted
from db.errors import TemporaryError, UserError, WorkStopped
from db.labels.csv_file import Reading, read_labels_csv
from db.maintenance.forget_patient import ForgetResult, forget_patient
from db.maintenance.prune_runs import prune_runs
from producer.commands.common import open_ledger, print_ignored, print_json, print_line
from producer.ingest.label_import import import_label_set
from worker.messaging.embedded_broker import EmbeddedBroker
from worker.settings import WorkerSettings


def labels_command(csv: Path, name: str | None, dataset: str | None, reading: Reading, *, as_json: bool) -> None:
    """`producer labels`."""
    if name is None:
        raise UserError("name the label set with --name NAME, or add --inspect to see only what would be read")
    _, engine = open_ledger()
    imported = import_label_set(engine, read_labels_csv(csv, reading), name, dataset)
    close_finished_runs(engine)
    if as_json:
        print_json(asdict(imported))
        return
    print_line(f"label set {name}: {counted(imported.labelled, 'scan')} of dataset {imported.dataset} labelled")
    print_ignored(imported.ignored)
    if imported.patients_added:
        print_line(f"{counted(imported.patients_added, 'scan')} got a patient, who was unknown before")
    print_line(f"'producer report --labels {imported.exact_name}' judges a run by this label set")


def forget_command(patient: str, dataset: str | None, *, ask: bool, as_json: bool) -> None:
    """`producer forget`."""
    # A closed stdin is no terminal either.
    if ask and not os.isatty(0):
        raise UserError("nothing was deleted: forget cannot be undone, and there is no terminal to ask on; add --yes")
    settings, engine = open_ledger()
    if ask and not typer.confirm(
        "Delete every scan, score, label and review of this patient? This cannot be undone.", err=True
    ):
        raise WorkStopped("nothing was deleted")
    try:
        forgotten = forget_patient(engine, patient, dataset)
    except (WorkStopped, KeyboardInterrupt):
        # The rows are deleted, though their traces in the database's file may not be.
        _delete_copies(settings, engine)
        raise
    left = _delete_copies(settings, engine)
    if as_json:
        print_json(asdict(forgotten))
        return
    rows = {"scan": forgotten.scans, "outcome": forgotten.outcomes, "label": forgotten.labels}
    print_line(f"deleted {', '.join(counted(count, noun) for noun, count in rows.items())}")
    print_line("deleted what this machine keeps of any patient: pixels, contact sheets, unfinished fits, sent messages")
    print_line("not deleted; take care of these yourself:")
    for line in (*left, *_out_of_reach(settings, engine, forgotten)):
        print_line(f"- {line}")


def _delete_copies(settings: WorkerSettings, engine: Engine) -> list[str]:
    """Close the runs that lost scans, and delete this machine's copies of all patients; returns those that stay.

    Its files do not say whose they are, and all are made again: pixels by workers and fits, messages from SQL.
    """
    close_finished_runs(engine)
    folders = (settings.pixel_cache, settings.trainer_folder)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    left = [f"the folder {folder}, which cannot be deleted" for folder in folders if folder.exists()]
    try:
        EmbeddedBroker(settings).forget_messages()
    except (TemporaryError, OSError) as error:
        left.append(f"the folder {settings.home / 'broker'}: its messages cannot be deleted ({error})")
    return left


def _out_of_reach(settings: WorkerSettings, engine: Engine, forgotten: ForgetResult) -> Iterator[str]:
    """What a person must take care of, because `forget` cannot delete it."""
    yield "images, CSVs, exports, reports, backups; if a CSV still lists the patient, enqueue registers the scans again"
    yield (
        f"on other machines the folders {settings.pixel_cache.name}/ and {settings.trainer_folder.name}/ in CXR_HOME, "
        "where workers and fits keep scans; a fit that runs now"
    )
    if forgotten.models:
        yield f"the split.csv of these models, which lists the patient: {', '.join(forgotten.models)}"
    if not settings.owns_broker:
        yield "messages with names of images in the files of the broker, CXR_BROKER_URL"
    if engine.dialect.name == "postgresql":
        yield "PostgreSQL's dead rows until autovacuum removes them, and its WAL"


def prune_command(days: int, *, as_json: bool) -> None:
    """`producer prune`."""
    _, engine = open_ledger()
    pruned = prune_runs(engine, timedelta(days=days))
    if as_json:
        print_json(asdict(pruned))
    else:
        print_line(f"deleted {counted(pruned.runs, 'run')} older than {counted(days, 'day')}")
        print_line(f"deleted {counted(pruned.outcomes, 'outcome')} that no run shows any more")
        sets, labels = counted(pruned.label_sets, "label set"), counted(pruned.labels, "label")
        print_line(f"deleted {sets} that a later file replaced, with {labels}")
