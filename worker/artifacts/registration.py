"""Registers the artifacts of a model store in SQL."""

from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.ledger.models import ModelInfo, UsedScan, register_model, registered_hashes
from db.ledger.open_run import lock_for_enqueue
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import ModelStore, load_new_artifacts
from worker.artifacts.split_file import read_split


def register_artifacts(engine: Engine, models: ModelStore) -> list[ModelInfo]:
    """Register every artifact of the store that SQL does not have yet, with its split.

    Returns:
        The newly registered models, the oldest first.

    Raises:
        UserError: an artifact is damaged, or its name belongs to another model.
    """
    with read_transaction(engine) as connection:
        known = registered_hashes(connection)
    new = load_new_artifacts(models, known)
    if not new:
        return []
    with engine.begin() as connection:
        # When many workers start at once, each finds the same new model.
        lock_for_enqueue(connection)
        return [
            register_model(
                connection,
                sha256=artifact.sha256,
                manifest=artifact.manifest.model_dump(mode="json"),
                used=_used_scans(artifact),
            )
            for artifact in new
        ]


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
