"""Brings the artifacts of `CXR_MODEL_DIR` into SQL, and finds the artifact of a registered model."""

from pathlib import Path

from sqlalchemy import Engine, select

from db.models import ModelInfo, UsedScan, register_model
from db.opening import lock_for_enqueue
from db.schema import Model
from db.session import reading
from worker.artifact import Artifact, list_artifacts, read_split


def register_artifacts(engine: Engine, model_dir: Path) -> list[ModelInfo]:
    """Register every artifact that the model folder holds and SQL does not know, with its split.

    Raises:
        UserError: an artifact is damaged, or its name belongs to another.
    """
    with reading(engine) as connection:
        known = set(connection.execute(select(Model.sha256)).scalars())
    new = list_artifacts(model_dir, but=known)
    if not new:
        return []
    with engine.begin() as connection:
        # A fleet's first start: many processes find the same new model.
        lock_for_enqueue(connection)
        return [
            register_model(
                connection,
                sha256=artifact.sha256,
                manifest=artifact.manifest.model_dump(mode="json"),
                used=_used_scans(artifact),
            )
            for artifact in sorted(new, key=_published_at)
        ]


def _used_scans(artifact: Artifact) -> list[UsedScan]:
    return [
        UsedScan(image_name=row.image_name, patient_id=row.patient_id, subset=row.subset)
        for row in read_split(artifact.folder)
    ]


def _published_at(artifact: Artifact) -> float:
    return artifact.folder.stat().st_mtime
