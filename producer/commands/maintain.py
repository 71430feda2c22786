"""Commands that keep the ledger: labels, models, forget, prune."""

import shutil
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import typer
from rich.table import Table

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.errors import WorkStopped
from db.labels.csv_file import Columns, read_labels_csv
from db.ledger.models import activate, list_models, read_demand
from db.ledger.outcomes import count_pending
from db.maintenance.forget_patient import forget_patient
from db.maintenance.prune_runs import prune_runs
from producer.commands.common import open_ledger, out, print_json, say
from producer.ingest.label_import import import_label_set
from worker.artifacts.model_store import open_model_store
from worker.artifacts.registration import register_artifacts


def labels_command(csv: Path, name: str, dataset: str | None, columns: Columns, *, as_json: bool) -> None:
    """`producer labels`."""
    _, engine = open_ledger()
    imported = import_label_set(engine, read_labels_csv(csv, columns), name, dataset)
    if as_json:
        print_json(asdict(imported))
        return
    say(f"label set {name}: {imported.labelled:,} scans of dataset {imported.dataset} are labelled")
    say(f"'producer report --labels {name}' judges a run by it")


def show_models(*, as_json: bool) -> None:
    """`producer model list`."""
    settings, engine = open_ledger()
    register_artifacts(engine, open_model_store(settings.model_dir, settings.home))
    with read_transaction(engine) as connection:
        models = list_models(connection)
    if as_json:
        print_json([asdict(model) for model in models])
        return
    table = Table("name", "hash", "active", "findings")
    for model in models:
        table.add_row(model.name, model.sha256[:12], "yes" if model.active else "", str(len(model.findings)))
    out.print(table)


def activate_model(name: str, *, as_json: bool) -> None:
    """`producer model activate`."""
    settings, engine = open_ledger()
    register_artifacts(engine, open_model_store(settings.model_dir, settings.home))
    with engine.begin() as connection:
        former = read_demand(connection).active
        model = activate(connection, name)
        waiting = count_pending(connection, former.id) if former and former.id != model.id else 0
    if as_json:
        print_json(asdict(model) | {"waiting_for_former": waiting, "former": former.name if former else None})
        return
    say(f"the next runs are scored by {model.name} ({model.sha256[:12]})")
    if former and waiting:
        say(f"{waiting:,} scans still wait for {former.name}, whose workers finish them first")


def forget_command(patient: str, dataset: str | None, *, ask: bool, as_json: bool) -> None:
    """`producer forget`."""
    settings, engine = open_ledger()
    if ask and not typer.confirm(
        "This cannot be undone. Forget every scan, score and label of this patient?", err=True
    ):
        raise WorkStopped("nothing was forgotten")
    try:
        forgotten = forget_patient(engine, patient, dataset)
    finally:
        close_finished_runs(engine)
        # All of it: it can be made again, and does not say whose a file is.
        shutil.rmtree(settings.pixel_cache, ignore_errors=True)
    if as_json:
        print_json(asdict(forgotten))
        return
    say(f"forgotten: {forgotten.scans:,} scans, {forgotten.outcomes:,} outcomes, {forgotten.labels:,} labels")
    say("images, CSVs, exports and backups stay: a CSV that still lists the patient brings the scans back")
    say(f"so do pixels that workers on other machines keep: there delete {settings.pixel_cache.name}/ in CXR_HOME")
    if forgotten.models:
        say(f"the split.csv of these models still names the patient: {', '.join(forgotten.models)}")


def prune_command(days: int, *, as_json: bool) -> None:
    """`producer prune`."""
    _, engine = open_ledger()
    pruned = prune_runs(engine, timedelta(days=days))
    if as_json:
        print_json(asdict(pruned))
    else:
        say(f"{pruned.runs:,} runs older than {days} days deleted, and {pruned.outcomes:,} outcomes only they knew")
