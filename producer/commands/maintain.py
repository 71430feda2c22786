"""Commands that maintain the ledger: labels, model, forget, prune."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.errors import TemporaryError, UserError, WorkStopped
from db.labels.csv_file import Reading, read_labels_csv
from db.ledger.models import ModelInfo, activate, list_models, read_demand
from db.ledger.outcomes import count_pending
from db.maintenance.forget_patient import ForgetResult, forget_patient
from db.maintenance.prune_runs import prune_runs
from producer.commands.common import open_ledger, out, print_ignored, print_json, print_line, print_unusable
from producer.counted import counted
from producer.ingest.label_import import import_label_set
from worker.artifacts.model_store import open_model_store
from worker.artifacts.registration import accept_exports, register_artifacts
from worker.artifacts.store_contents import UnusableFolder
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


def model_list_command(*, as_json: bool) -> None:
    """`producer model list`."""
    settings, engine = open_ledger()
    unusable = register_artifacts(engine, open_model_store(settings.model_dir, settings.home)).unusable
    print_unusable(unusable)
    with read_transaction(engine) as connection:
        models = list_models(connection)
    if as_json:
        print_json(_models_as_dicts(models, unusable))
        return
    table = Table("name", "hash", "active", "findings")
    for model in models:
        table.add_row(model.name, model.sha256[:12], "yes" if model.active else "", str(len(model.findings)))
    for folder in unusable:
        table.add_row(Text(folder.model or "?"), Text(folder.name), "unusable", "")
    out.print(table)


def _models_as_dicts(models: list[ModelInfo], unusable: list[UnusableFolder]) -> list[dict[str, object]]:
    """Every registered model, then every folder that cannot be used, without an id."""
    registered = [asdict(model) | {"problem": None} for model in models]
    return registered + [
        {"id": None, "sha256": None, "name": folder.model, "active": False, "findings": [], "problem": folder.problem}
        for folder in unusable
    ]


def model_activate_command(name: str, *, as_json: bool) -> None:
    """`producer model activate`."""
    settings, engine = open_ledger()
    registration = register_artifacts(engine, open_model_store(settings.model_dir, settings.home))
    print_unusable(registration.unusable)
    with engine.begin() as connection:
        registration.find_model(connection, name)
        previous = read_demand(connection).active
        model = activate(connection, name)
        waiting = count_pending(connection, previous.id) if previous and previous.id != model.id else 0
    if as_json:
        former = previous.name if previous else None
        print_json(asdict(model) | {"waiting_for_former": waiting, "former": former})
        return
    print_line(f"model {model.name} ({model.sha256[:12]}) scores the next runs")
    if previous and waiting:
        verb, them = ("waits", "it") if waiting == 1 else ("wait", "them")
        print_line(f"{counted(waiting, 'scan')} still {verb} for {previous.name}; its workers score {them} first")


def model_accept_export_command(name: str, *, as_json: bool) -> None:
    """`producer model accept-export`."""
    settings, engine = open_ledger()
    models = open_model_store(settings.model_dir, settings.home)
    register_artifacts(engine, models)
    model, accepted = accept_exports(engine, models, name)
    if as_json:
        print_json({"model": model.name, "sha256": model.sha256, "exports": accepted})
        return
    for export, sha256 in accepted.items():
        print_line(f"model {model.name} ({model.sha256[:12]}): workers may score with {export} {sha256[:12]}")


def forget_command(patient: str, dataset: str | None, *, ask: bool, as_json: bool) -> None:
    """`producer forget`."""
    # A closed stdin is no terminal either.
    if ask and not os.isatty(0):
        raise UserError("nothing was deleted: forget cannot be undone, and there is no terminal to ask on; add --yes")
    settings, engine = open_ledger()
    if ask and not typer.confirm(
        "Delete every scan, score and label of this patient? This cannot be undone.", err=True
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
