"""`producer labels`: a labels file becomes a label set beside those there are; nothing is enqueued."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine

from db.engine.session import read_transaction
from db.errors import UserError
from db.labels.csv_file import LabelsFile
from db.labels.label_sets import import_labels
from db.ledger.open_run import lock_for_enqueue
from db.ledger.runs import find_run
from db.ledger.scans import list_datasets, register_scans, scan_ids_by_name

_LONGEST_NAME: Final = 100


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of it: the file's rows, and the scans of the dataset that they label."""

    label_set: str
    dataset: str
    rows: int
    labelled: int


def import_label_set(engine: Engine, file: LabelsFile, name: str, dataset: str | None = None) -> Imported:
    """Import a file's labels of a dataset's scans; rows of other scans are left out.

    Args:
        engine: the ledger.
        file: the labels file.
        name: of the label set.
        dataset: whose scans; None is the CSV's stem, or the latest run's dataset where it has scans of these names.
            A dataset that is new gets the file's scans, without images yet.

    Raises:
        UserError: the name is another file's, there is no such dataset, or no row labels a scan of it.
    """
    if not name.strip():
        raise UserError("--name is empty")
    if len(name) > _LONGEST_NAME or not name.isprintable():
        # It becomes a folder's name and stands in every row that a person reads.
        raise UserError(f"--name has {len(name):,} letters: at most {_LONGEST_NAME} in one line make a name")
    if not any(row.findings for row in file.rows):
        raise UserError(f"{file.path}: none of its rows has a label; --label-column names their column")
    names = {row.image_name for row in file.rows}
    dataset = dataset or _guess(engine, file.dataset, names)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        ids = scan_ids_by_name(connection, dataset) or _register(connection, dataset, file)
        rows = [row for row in file.rows if row.image_name in ids]
        if not rows:
            raise UserError(f"{file.path}: none of its {len(names):,} images is a scan of dataset {dataset!r}")
        import_labels(connection, file, rows, ids, name)
    labelled = sum(1 for row in rows if row.findings)
    return Imported(label_set=name, dataset=dataset, rows=len(file.rows), labelled=labelled)


def _register(connection: Connection, dataset: str, file: LabelsFile) -> dict[str, int]:
    known = list_datasets(connection)
    if known and dataset != file.dataset:
        raise UserError(f"no dataset {dataset!r}; there are: {', '.join(known)}")
    return register_scans(connection, dataset, file.rows, {})


def _guess(engine: Engine, stem: str, names: AbstractSet[str]) -> str:
    with read_transaction(engine) as connection:
        if scan_ids_by_name(connection, stem):
            return stem
        latest = _latest_dataset(connection)
        return latest if latest and names & scan_ids_by_name(connection, latest).keys() else stem


def _latest_dataset(connection: Connection) -> str | None:
    try:
        return find_run(connection, None).dataset
    except UserError:
        return None
