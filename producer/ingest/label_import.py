"""`producer labels`: imports a labels CSV as a label set, without enqueueing."""

from collections.abc import Mapping
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
from db.ledger.scans import add_patient_ids, list_datasets, register_scans, scan_ids_by_name
from db.schema.label_history import EXACT_NAME, exact_name

_MAX_NAME_LENGTH: Final = 100


@dataclass(frozen=True, kw_only=True)
class ImportedLabels:
    """How much was imported."""

    label_set: str
    #: `NAME@HASH`: this file's own label set, whatever is imported under the name later.
    exact_name: str
    dataset: str
    #: Rows of the CSV.
    rows: int
    #: Scans of the dataset with a label.
    labelled: int
    #: Scans of the dataset whose patient was unknown and is in the CSV.
    patients_added: int
    #: See `LabelsFile`.
    ignored: Mapping[str, int]


def import_label_set(engine: Engine, file: LabelsFile, name: str, dataset: str | None = None) -> ImportedLabels:
    """Import the labels of a dataset's scans, and their patients where unknown; rows of other scans are skipped.

    Args:
        engine: the ledger.
        file: the labels CSV.
        name: of the label set. If it is known, the file may only add to it.
        dataset: of the labelled scans; None is the CSV's stem, or the latest run's dataset if that has scans of these
            names. A new dataset gets the scans of the CSV, without images.

    Raises:
        UserError: the name is empty, too long or looks like one file's (`NAME@HASH`), its latest label set labels a
            scan that this file labels differently or not at all, there is no such dataset, no row labels a scan of it,
            or a scan of it has another patient; nothing was written.
    """
    _check_name(name)
    if not any(row.is_labelled for row in file.rows):
        raise UserError(f"{file.path}: no row has a label; name the column of the labels with --label-column")
    names = {row.image_name for row in file.rows}
    dataset = dataset or _default_dataset(engine, file.dataset, names)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        ids = scan_ids_by_name(connection, dataset) or _register(connection, dataset, file)
        rows = [row for row in file.rows if row.image_name in ids]
        if not rows:
            raise UserError(f"{file.path}: none of its {len(names):,} images is a scan of dataset {dataset!r}")
        patients_added = add_patient_ids(connection, dataset, file)
        import_labels(connection, file, rows, ids, name, may_change=False)
    labelled = sum(1 for row in rows if row.is_labelled)
    return ImportedLabels(
        label_set=name,
        exact_name=exact_name(name, file.sha256),
        dataset=dataset,
        rows=len(file.rows),
        labelled=labelled,
        patients_added=patients_added,
        ignored=file.ignored,
    )


def _check_name(name: str) -> None:
    if not name.strip():
        raise UserError("--name is empty")
    if len(name) > _MAX_NAME_LENGTH or not name.isprintable():
        # It becomes a folder's name and stands in every row that a person reads.
        raise UserError(
            f"--name has {len(name):,} characters: use at most {_MAX_NAME_LENGTH}, all printable and on one line"
        )
    if EXACT_NAME.fullmatch(name):
        raise UserError(f"--name {name!r} ends in a hash, by which one file of a name is asked for; leave the hash out")


def _register(connection: Connection, dataset: str, file: LabelsFile) -> dict[str, int]:
    known = list_datasets(connection)
    if known and dataset != file.dataset:
        raise UserError(f"no dataset {dataset!r}; there are: {', '.join(known)}")
    return register_scans(connection, dataset, file.rows, {})


def _default_dataset(engine: Engine, stem: str, names: AbstractSet[str]) -> str:
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
