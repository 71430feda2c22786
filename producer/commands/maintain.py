"""Commands that maintain the ledger: labels, model, forget, prune."""

import shutil
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.errors import WorkStopped
from db.labels.csv_file import Columns, read_labels_csv
from db.ledger.models import ModelInfo, activate, list_models, read_demand
from db.ledger.outcomes import count_pending
from db.maintenance.forget_patient import forget_patient
from db.maintenance.prune_runs import prune_runs
from producer.commands.common import open_ledger, out, print_json, print_line, print_unusable
from producer.ingest.label_import import import_label_set
from worker.artifacts.model_store import open_model_store
from worker.artifacts.registration import accept_exports, register_artifacts
from worker.artifacts.store_contents import UnusableFolder


def labels_command(csv: Path, name: str, dataset: str | None, columns: Columns, *, as_json: bool) -> None:
    """`producer labels`."""
    _, engine = open_ledger()
    imported = import_label_set(engine, read_labels_csv(csv, columns), name, dataset)
    close_finished_runs(engine)
    if as_json:
        print_json(asdict(imported))
        return
    print_line(f"label set {name}: {imported.labelled:,} scans of dataset {imported.dataset} labelled")
    if imported.patients_added:
        print_line(f"{imported.patients_added:,} scans whose patient was unknown have one now")
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
        print_line(f"{waiting:,} scans still wait for {previous.name}; its workers score them first")


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
    settings, engine = open_ledger()
    if ask and not typer.confirm(
        "Delete every scan, score and label of this patient? This cannot be undone.", err=True
    ):
        raise WorkStopped("nothing was deleted")
    try:
        forgotten = forget_patient(engine, patient, dataset)
    finally:
        close_finished_runs(engine)
        # The whole cache: its files do not say whose they are, and workers fill it again.
        shutil.rmtree(settings.pixel_cache, ignore_errors=True)
    if as_json:
        print_json(asdict(forgotten))
        return
    print_line(f"deleted {forgotten.scans:,} scans, {forgotten.outcomes:,} outcomes, {forgotten.labels:,} labels")
    print_line(
        "images, CSVs, exports and backups stay; if a CSV still lists the patient, enqueue registers the scans again"
    )
    print_line(
        f"workers on other machines keep pixels: delete the folder {settings.pixel_cache.name}/ in their CXR_HOME"
    )
    if forgotten.models:
        print_line(f"the split.csv files of these models still list the patient: {', '.join(forgotten.models)}")


def prune_command(days: int, *, as_json: bool) -> None:
    """`producer prune`."""
    _, engine = open_ledger()
    pruned = prune_runs(engine, timedelta(days=days))
    if as_json:
        print_json(asdict(pruned))
    else:
        print_line(f"deleted {pruned.runs:,} runs older than {days} days")
        print_line(f"deleted {pruned.outcomes:,} outcomes that no run shows any more")
        print_line(
            f"deleted {pruned.label_sets:,} label sets that a later file replaced, with {pruned.labels:,} labels"
        )
