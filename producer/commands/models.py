"""Commands about models: list, activate, publish, remove, accept-export."""

import os
from dataclasses import asdict
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from db.counted import counted
from db.engine.session import read_transaction
from db.errors import UserError, WorkStopped
from db.ledger.models import ModelInfo, RemovedModel, activate, find_model, list_models, read_demand, remove_model
from db.ledger.open_run import lock_for_enqueue
from db.ledger.outcomes import count_pending
from producer.commands.common import open_ledger, out, print_json, print_line, print_unusable
from worker.artifacts.artifact import load_artifact
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore, open_model_store
from worker.artifacts.registration import accept_exports, register_artifacts
from worker.artifacts.store_contents import UnusableFolder, check_usable


def list_command(*, as_json: bool) -> None:
    """`producer model list`."""
    settings, engine = open_ledger()
    unusable = register_artifacts(engine, open_model_store(settings.model_dir, settings.home)).unusable
    print_unusable(unusable)
    with read_transaction(engine) as connection:
        models = list_models(connection)
    if as_json:
        print_json(_models_as_dicts(models, unusable))
        return
    table = Table("name", "hash", "active", "findings", "fitted on")
    for model in models:
        state = "yes" if model.active else "removed" if model.removed else ""
        table.add_row(Text(model.name), model.sha256[:12], state, str(len(model.findings)), _fitted_on(model))
    for folder in unusable:
        table.add_row(Text(folder.model or "?"), Text(folder.name), "unusable", "", "")
    out.print(table)


def _fitted_on(model: ModelInfo) -> str:
    """What a person must know of the scans that the model was fitted on; empty if there is nothing."""
    parts = ("synthetic scans", model.synthetic), ("unknown scans", model.fitted_scans_unknown)
    return " and ".join(words for words, holds in parts if holds)


def _models_as_dicts(models: list[ModelInfo], unusable: list[UnusableFolder]) -> list[dict[str, object]]:
    """Every registered model, then every folder that cannot be used, without an id."""
    registered = [asdict(model) | {"problem": None} for model in models]
    nothing: dict[str, object] = {
        "id": None,
        "sha256": None,
        "active": False,
        "findings": [],
        "synthetic": False,
        "fitted_scans_unknown": False,
        "removed": False,
    }
    return registered + [nothing | {"name": folder.model, "problem": folder.problem} for folder in unusable]


def activate_command(name: str, *, as_json: bool) -> None:
    """`producer model activate`."""
    settings, engine = open_ledger()
    registration = register_artifacts(engine, open_model_store(settings.model_dir, settings.home))
    print_unusable(registration.unusable)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
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


def publish_command(folder: Path, *, as_json: bool) -> None:
    """`producer model publish`."""
    settings, engine = open_ledger()
    artifact, models = load_artifact(folder), open_model_store(settings.model_dir, settings.home)
    is_new = _copy_in(artifact, models, engine)
    registration = register_artifacts(engine, models)
    check_usable(artifact.sha256, registration.unusable)
    with read_transaction(engine) as connection:
        model = registration.find_model(connection, artifact.sha256)
    if as_json:
        print_json(asdict(model) | {"address": models.address, "copied": is_new})
        return
    name = f"model {model.name} ({model.sha256[:12]})"
    print_line(f"{name} was copied to {models.address}" if is_new else f"{name} is in {models.address} already")
    if not model.active:
        print_line(f"'producer model activate {model.name}' makes it the model that scores the next runs")


def _copy_in(artifact: Artifact, models: ModelStore, engine: Engine) -> bool:
    """Copy an artifact into a store; gives False if it is there.

    Raises:
        UserError: its name belongs to another model, there or in the ledger.
    """
    stored = models.contents().manifests
    with read_transaction(engine) as connection:
        names = [(model.sha256, model.name) for model in list_models(connection)]
    names += [(sha256, manifest.name) for sha256, manifest in stored.items()]
    name = artifact.manifest.name
    for other in (sha256 for sha256, taken in names if taken == name and sha256 != artifact.sha256):
        raise UserError(
            f"{artifact.folder}: the name {name!r} belongs to another model, {other[:12]}: fit this one under another "
            "--name, or remove the other one with 'producer model remove'"
        )
    if artifact.sha256 in stored:
        return False
    models.copy_in(artifact)
    return True


def remove_command(name: str, *, ask: bool, as_json: bool) -> None:
    """`producer model remove`."""
    # A closed stdin is no terminal either.
    if ask and not os.isatty(0):
        raise UserError("nothing was removed: a model's files are gone for good, and nobody can be asked; add --yes")
    settings, engine = open_ledger()
    models = open_model_store(settings.model_dir, settings.home)
    register_artifacts(engine, models)
    with read_transaction(engine) as connection:
        model = find_model(connection, name)
    question = f"Delete the files of model {model.name} ({model.sha256[:12]}) in {models.address} for good?"
    if ask and not typer.confirm(question, err=True):
        raise WorkStopped("nothing was removed")
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        removed = remove_model(connection, model.sha256)
        # If this fails, the row stays as well, and the same command tries again.
        models.remove(removed.sha256)
    if as_json:
        print_json(asdict(removed) | {"address": models.address, "is_kept": removed.is_kept})
    else:
        _print_removed(removed, models.address)


def _print_removed(removed: RemovedModel, address: str) -> None:
    print_line(f"model {removed.name} ({removed.sha256[:12]}): its files in {address} are deleted")
    if removed.is_kept:
        runs, outcomes = counted(removed.runs, "run"), counted(removed.outcomes, "outcome")
        print_line(f"the ledger keeps its {runs} and {outcomes}, so its name stays taken")
    else:
        print_line("the ledger has nothing of it any more")


def accept_export_command(name: str, *, as_json: bool) -> None:
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
