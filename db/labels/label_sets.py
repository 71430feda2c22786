"""Imports label sets. A label set is a labels file as it was read, and is never edited; a scan may be in several."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from db.engine.bulk_insert import insert_rows
from db.errors import UserError
from db.labels.csv_file import LabelRow, LabelsFile
from db.metrics.stale_metrics import delete_metrics
from db.schema.tables import Label, LabelSet, Run


def import_labels(
    connection: Connection, file: LabelsFile, rows: Iterable[LabelRow], ids: Mapping[str, int], name: str | None = None
) -> int:
    """Import a file's labels for the scans in `ids`. Labels that were imported before stay as they are.

    If labels were added, the metrics that rest on the label set are deleted: the caller closes runs afterwards, see
    `delete_metrics`.

    Args:
        connection: in the caller's transaction.
        file: the file of the rows.
        rows: the rows to import; rows whose image is not in `ids` are left out.
        ids: scan id by image name.
        name: the label set's name; None means the dataset's name, followed by the file's hash if another file has
            that name already.

    Returns:
        The label set's id.

    Raises:
        UserError: another file has a label set of this name.
    """
    label_set_id = _label_set(connection, file, name or _free_name(connection, file))
    labels = (
        {"label_set_id": label_set_id, "scan_id": ids[row.image_name], "finding": finding}
        for row in rows
        if row.image_name in ids
        for finding in row.findings
    )
    # A run with `--limit N` imported only the first N rows; the rest of the same file may follow.
    if insert_rows(connection, Label.__table__, labels):
        delete_metrics(connection, Run.label_set_id == label_set_id)
    return label_set_id


def _label_set(connection: Connection, file: LabelsFile, name: str) -> int:
    found = connection.execute(select(LabelSet.id, LabelSet.sha256).where(LabelSet.name == name)).first()
    if found is None:
        values = {"name": name, "sha256": file.sha256, "imported_at": datetime.now(UTC)}
        return int(connection.execute(insert(LabelSet).returning(LabelSet.id), values).scalar_one())
    if found.sha256 != file.sha256:
        raise UserError(f"{file.path}: label set {name!r} is another file's and is never edited; choose another --name")
    return int(found.id)


def _free_name(connection: Connection, file: LabelsFile) -> str:
    holder = connection.execute(select(LabelSet.sha256).where(LabelSet.name == file.dataset)).scalar()
    return file.dataset if holder in (None, file.sha256) else f"{file.dataset}@{file.sha256[:8]}"
