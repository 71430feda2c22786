"""Registered models: lists, registers and activates them, with the scans that each was fitted on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, case, delete, exists, func, insert, select, update

from db.errors import UserError
from db.ledger.outcomes import is_wanted
from db.metrics.known_patients import has_unknown_fitted_scans
from db.schema.tables import PENDING, Model, ModelExport, ModelScan, Outcome, Run

#: A key of the stored manifest that no artifact's own manifest has.
_REMOVED: Final = "removed"


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A registered model."""

    id: int
    sha256: str
    name: str
    active: bool
    findings: tuple[str, ...]
    #: It was fitted on synthetic scans, so its scores of real ones mean nothing.
    synthetic: bool = False
    #: Nobody knows all scans that it was fitted on, so none can be called held out.
    fitted_scans_unknown: bool = False
    #: `producer model remove` deleted its files. Its row stays for the outcomes that it has.
    removed: bool = False


@dataclass(frozen=True, kw_only=True)
class UsedScan:
    """A scan on which a model was fitted, tuned or tested: a row of its `split.csv`."""

    image_name: str
    patient_id: str | None
    subset: str
    #: None means the manifest's dataset.
    dataset: str | None = None
    #: `sha256:...` of the encoded image; None if it is not known.
    content: str | None = None


@dataclass(frozen=True, kw_only=True)
class RemovedModel:
    """A model that was removed. Its row stays where it has outcomes or runs."""

    name: str
    sha256: str
    outcomes: int
    runs: int

    @property
    def is_kept(self) -> bool:
        """Whether the ledger still has the model's row, so that its name stays taken."""
        return bool(self.outcomes or self.runs)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """The models that workers need now."""

    #: The model of the next runs; None if no model is registered.
    active: ModelInfo | None
    #: The models with pending scans, oldest first.
    with_work: tuple[ModelInfo, ...]


def register_model(
    connection: Connection, *, sha256: str, manifest: dict[str, Any], used: Iterable[UsedScan]
) -> ModelInfo:
    """Register an artifact with its split, unless it is registered. The first model becomes the active one.

    Raises:
        UserError: another artifact has the same name.
    """
    name = str(manifest["name"])
    holder = connection.execute(select(Model.sha256).where(Model.name == name)).scalar()
    if holder is not None and holder != sha256:
        raise UserError(
            f"the name {name!r} belongs to artifact {holder[:12]}; publish artifact {sha256[:12]} under "
            "another --name, or remove it"
        )
    if holder is None:
        _insert(connection, sha256, name, manifest, used)
    else:
        # Its files may have been removed, and are back.
        connection.execute(update(Model).where(Model.sha256 == sha256).values(manifest=manifest))
    return find_model(connection, sha256)


def find_model(connection: Connection, wanted: str | None) -> ModelInfo:
    """The model with this name or hash, of which 12 characters are enough; None means the active model.

    Raises:
        UserError: there is no such model.
    """
    condition: ColumnElement[bool] = Model.name == (wanted or "")
    if wanted is None:
        condition = Model.active.is_(True)
    elif len(wanted) >= 12:
        condition |= Model.sha256.startswith(wanted, autoescape=True)
    row = connection.execute(_select().where(condition)).first()
    if row is None:
        which = "no model is there yet" if wanted is None else f"no model {wanted!r} is registered"
        raise UserError(f"{which}; 'producer model list' shows the models, 'trainer import' and 'trainer fit' make one")
    return _info(row)


def thresholds_of(connection: Connection, model_id: int) -> dict[str, dict[str, float]]:
    """A model's own thresholds by finding and by name, which were chosen when it was fitted."""
    manifest = connection.execute(select(Model.manifest).where(Model.id == model_id)).scalar_one()
    thresholds: dict[str, dict[str, float]] = manifest.get("thresholds", {})
    return thresholds


def list_models(connection: Connection) -> list[ModelInfo]:
    """Every registered model, oldest first."""
    return [_info(row) for row in connection.execute(_select().order_by(Model.id))]


def check_not_removed(model: ModelInfo) -> None:
    """Check that a model can score.

    Raises:
        UserError: its files were removed.
    """
    if model.removed:
        raise UserError(
            f"model {model.name} ({model.sha256[:12]}) was removed: the scores that it gave stay, but it gives no more "
            "until 'producer model publish FOLDER' brings it back"
        )


def registered_hashes(connection: Connection) -> set[str]:
    """The sha256 of every registered artifact whose files were not removed."""
    return {model.sha256 for model in list_models(connection) if not model.removed}


def remove_model(connection: Connection, wanted: str) -> RemovedModel:
    """Delete a model that no outcome or run refers to; of any other one, note that its files are removed.

    Args:
        connection: in the caller's transaction, which holds `lock_for_enqueue` and deletes the model's files.
        wanted: name or hash.

    Raises:
        UserError: there is no such model, it is the active one, or scans wait for it.
    """
    model = find_model(connection, wanted)
    if model.active:
        raise UserError(
            f"model {model.name} is the active one, which scores the next runs; activate another one first: "
            "'producer model activate NAME'"
        )
    outcomes, pending = _count_outcomes(connection, model.id)
    if pending:
        raise UserError(
            f"model {model.name} cannot be removed while scans wait for it ({pending:,}); let its runs finish, or "
            "cancel them: 'producer runs' lists them, 'producer cancel --run N' cancels one"
        )
    runs = connection.execute(select(func.count()).where(Run.model_id == model.id)).scalar_one()
    if outcomes or runs:
        manifest = connection.execute(select(Model.manifest).where(Model.id == model.id)).scalar_one()
        noted = update(Model).where(Model.id == model.id).values(manifest=manifest | {_REMOVED: True})
        connection.execute(noted)
    else:
        for table in (ModelScan, ModelExport):
            connection.execute(delete(table).where(table.model_id == model.id))
        connection.execute(delete(Model).where(Model.id == model.id))
    return RemovedModel(name=model.name, sha256=model.sha256, outcomes=outcomes, runs=runs)


def _count_outcomes(connection: Connection, model_id: int) -> tuple[int, int]:
    """How many outcomes a model has, and how many of them are pending, those of stopped runs included."""
    pending = func.coalesce(func.sum(case((Outcome.state == PENDING, 1), else_=0)), 0)
    row = connection.execute(select(func.count(), pending).where(Outcome.model_id == model_id)).one()
    return row[0], int(row[1])


def read_demand(connection: Connection) -> Demand:
    """The active model, and the models that unfinished runs need, except for stopped runs."""
    pending = exists().where(Outcome.model_id == Model.id, Outcome.state == PENDING, is_wanted())
    rows = connection.execute(_select().add_columns(pending.label("wanted")).order_by(Model.id)).all()
    return Demand(
        active=next((_info(row) for row in rows if row.active), None),
        with_work=tuple(_info(row) for row in rows if row.wanted),
    )


def activate(connection: Connection, wanted: str) -> ModelInfo:
    """Make a model, given by name or hash, the one of the next runs.

    Raises:
        UserError: there is no such model.
    """
    model = find_model(connection, wanted)
    connection.execute(update(Model).where(Model.active).values(active=False))
    connection.execute(update(Model).where(Model.id == model.id).values(active=True))
    return find_model(connection, model.sha256)


def _select() -> Select[int, str, str, bool, dict[str, Any]]:
    return select(Model.id, Model.sha256, Model.name, Model.active, Model.manifest)


def _info(row: Row[int, str, str, bool, dict[str, Any]]) -> ModelInfo:
    return ModelInfo(
        id=row.id,
        sha256=row.sha256,
        name=row.name,
        active=row.active,
        findings=tuple(row.manifest["findings"]),
        # Manifests of older programs do not say it.
        synthetic=bool(row.manifest.get("about", {}).get("synthetic")),
        fitted_scans_unknown=has_unknown_fitted_scans(row.manifest),
        removed=row.manifest.get(_REMOVED, False),
    )


def _insert(connection: Connection, sha256: str, name: str, manifest: dict[str, Any], used: Iterable[UsedScan]) -> None:
    first = connection.execute(select(Model.id).limit(1)).first() is None
    values = {"sha256": sha256, "name": name, "manifest": manifest, "active": first, "registered_at": datetime.now(UTC)}
    model_id = connection.execute(insert(Model).returning(Model.id), values).scalar_one()
    rows = [
        {
            "model_id": model_id,
            "dataset": scan.dataset or manifest["dataset"],
            "image_name": scan.image_name,
            "patient_id": scan.patient_id,
            "subset": scan.subset,
            "content": scan.content,
        }
        for scan in used
    ]
    if rows:
        connection.execute(insert(ModelScan), rows)
