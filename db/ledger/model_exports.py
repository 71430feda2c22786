"""The exports of models: which files of other runtimes may score for a model.

A model's hash does not cover its exports, so the ledger notes the hash of each one when it first sees it.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, select

from db.engine.bulk_insert import insert_rows
from db.schema.tables import ModelExport


def noted_exports(connection: Connection, model_id: int) -> dict[str, str]:
    """The sha256 of each noted export of a model, by format."""
    query = select(ModelExport.format, ModelExport.sha256).where(ModelExport.model_id == model_id)
    return {row.format: row.sha256 for row in connection.execute(query)}


def note_exports(connection: Connection, model_id: int, exports: Mapping[str, str]) -> None:
    """Note the sha256 of exports by format; a format that is noted already keeps its hash."""
    rows = ({"model_id": model_id, "format": name, "sha256": exports[name]} for name in sorted(exports))
    insert_rows(connection, ModelExport.__table__, rows)


def replace_exports(connection: Connection, model_id: int, exports: Mapping[str, str]) -> None:
    """Forget what was noted of a model's exports, and note these."""
    connection.execute(delete(ModelExport).where(ModelExport.model_id == model_id))
    note_exports(connection, model_id, exports)
