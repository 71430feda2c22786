"""Registers the artifacts of a model store in SQL, and checks their exports against what SQL noted."""

import logging
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from db.engine.database_errors import cause_of, is_transient
from db.engine.session import address_of, read_transaction
from db.errors import DatabaseUnavailable, UserError
from db.ledger.model_exports import note_exports, noted_exports, replace_exports
from db.ledger.models import (
    ModelInfo,
    UsedScan,
    check_not_removed,
    find_model,
    register_model,
    registered_hashes,
)
from db.ledger.open_run import lock_for_enqueue
from worker.artifacts.exports import read_exports
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore
from worker.artifacts.split_file import read_split
from worker.artifacts.store_contents import UnusableFolder, check_usable, unusable_folder


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What `register_artifacts` found.

    Attributes:
        new: the newly registered models, the oldest first.
        unusable: the folders of the store that cannot be used.
    """

    new: list[ModelInfo]
    unusable: list[UnusableFolder]

    def find_model(self, connection: Connection, wanted: str | None) -> ModelInfo:
        """The registered model with this name or hash, which can score; None means the active model.

        Raises:
            UserError: there is no such model, or its files were removed; the message says why if its folder cannot be
                used.
        """
        try:
            model = find_model(connection, wanted)
            check_not_removed(model)
        except UserError:
            check_usable(wanted, self.unusable)
            raise
        return model


def register_artifacts(engine: Engine, models: ModelStore) -> Registration:
    """Register every artifact of the store that SQL does not have yet, with its split and exports.

    An artifact that is damaged, or whose name belongs to another model, is left out. A later call registers it once it
    is whole.

    Raises:
        UserError: the store cannot be read.
    """
    contents = models.contents()
    registration = Registration(new=[], unusable=contents.unusable)
    with read_transaction(engine) as connection:
        known = registered_hashes(connection)
    for sha256, manifest in contents.manifests.items():
        if sha256 not in known:
            try:
                registration.new.append(_register(engine, models.find(sha256)))
            except (UserError, OSError) as error:
                address = f"{models.address}/{sha256[:12]}"
                registration.unusable.append(unusable_folder(address, manifest.name, error))
    return registration


def _register(engine: Engine, artifact: Artifact) -> ModelInfo:
    try:
        with engine.begin() as connection:
            # When many workers start at once, each finds the same new model.
            lock_for_enqueue(connection)
            manifest = artifact.manifest.model_dump(mode="json")
            model = register_model(connection, sha256=artifact.sha256, manifest=manifest, used=_used_scans(artifact))
            note_exports(connection, model.id, _export_hashes(artifact))
            return model
    except DBAPIError as error:
        if is_transient(error):
            raise
        # A scan that its split lists twice, or a text that the database cannot store.
        raise UserError(f"the database refuses its manifest or split ({cause_of(error)}); remove its folder") from error


def check_export(engine: Engine, artifact: Artifact, name: str, sha256: str) -> None:
    """Check an export that is about to be loaded against the one that SQL noted; where there is none, note this one.

    Args:
        engine: the ledger.
        artifact: a registered model.
        name: the export's format.
        sha256: `worker.artifacts.exports.export_sha256` of the files.

    Raises:
        UserError: SQL noted another export of the model to this format.
        DatabaseUnavailable: the database does not answer.
    """
    try:
        noted = _noted_export(engine, artifact, name, sha256)
    except DBAPIError as error:
        raise DatabaseUnavailable(f"{address_of(engine)}: the database does not answer ({cause_of(error)})") from error
    if noted != sha256:
        model = artifact.manifest.name
        raise UserError(
            f"{artifact.folder}: its {name} export was replaced: the ledger noted {noted[:12]}, the files are"
            f" {sha256[:12]}; put the noted files back (delete the folder if it is a copy in fetched-models), or run"
            f" 'producer model accept-export {model}' if the model was exported again on purpose"
        )


def accept_exports(engine: Engine, models: ModelStore, wanted: str) -> tuple[ModelInfo, dict[str, str]]:
    """Note the exports that lie in the store now as those of a model, given by name or hash.

    Returns:
        The model, and the sha256 of each of its exports by format.

    Raises:
        UserError: there is no such model, or the store has no list of its exports.
    """
    with read_transaction(engine) as connection:
        model = find_model(connection, wanted)
    accepted = models.exports(model.sha256).hashes
    with engine.begin() as connection:
        replace_exports(connection, model.id, accepted)
    return model, accepted


def _noted_export(engine: Engine, artifact: Artifact, name: str, sha256: str) -> str:
    with read_transaction(engine) as connection:
        model = find_model(connection, artifact.sha256)
        noted = noted_exports(connection, model.id).get(name)
    if noted is not None:
        return noted
    with engine.begin() as connection:
        note_exports(connection, model.id, {name: sha256})
        # Another worker may have noted it first.
        return noted_exports(connection, model.id)[name]


def _export_hashes(artifact: Artifact) -> dict[str, str]:
    try:
        return read_exports(artifact).hashes
    except UserError:
        # There is no export, or its list is damaged: a worker that loads the model says so.
        return {}


def _used_scans(artifact: Artifact) -> list[UsedScan]:
    return [
        UsedScan(
            image_name=row.image_name,
            patient_id=row.patient_id,
            subset=row.subset,
            dataset=row.dataset,
            content=row.content,
        )
        for row in read_split(artifact.folder)
    ]


class UnusableFolderLog:
    """Logs each folder that cannot be used once, and again only after it was usable."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._logged: set[str] = set()

    def report(self, unusable: list[UnusableFolder]) -> None:
        """Log the folders that were not unusable at the last call."""
        for folder in unusable:
            if folder.name not in self._logged:
                self._logger.warning("a model folder is ignored: %s", folder.problem)
        self._logged = {folder.name for folder in unusable}
