"""Imports label sets. A label set is a labels file as it was read, and is never edited; a scan may be in several.

The label sets of one name are a series: of each file, only what differs from the file before it is written.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from db.engine.bulk_insert import insert_rows, sliced
from db.errors import UserError
from db.findings import SPECIFIC_FINDINGS
from db.labels.csv_file import LabelRow, LabelsFile
from db.metrics.stale_metrics import delete_metrics
from db.schema.label_history import is_label_of
from db.schema.tables import NEGATIVE, POSITIVE, UNCERTAIN, Label, LabelSet, Run

#: Rows that are compared together: their stored labels are in memory, not those of the whole file.
_ROWS_PER_SLICE: Final = 4_000
_GREATEST_ID: Final = 2**63 - 1

#: A scan's id, one of its findings, and the finding's value (see `db.schema.tables.Label`).
_ScanLabel = tuple[int, str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class _LabelSet:
    id: int
    series_id: int
    #: The next label set of the series; None for the latest.
    next_id: int | None
    #: It was inserted now, so it still has the labels of the one before.
    is_new: bool
    #: The label set before a new one covers findings that this one does not.
    covers_less: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredLabels:
    """The stored labels of some scans, each with the label set since which it is there."""

    #: In the label set.
    present: Mapping[_ScanLabel, int]
    #: In the one before it, but not in itself.
    ended: Mapping[_ScanLabel, int]


def import_labels(
    connection: Connection,
    file: LabelsFile,
    rows: Iterable[LabelRow],
    ids: Mapping[str, int],
    name: str,
    *,
    may_change: bool = True,
) -> int:
    """Import a file's labels for the scans in `ids`.

    A file that the name did not have yet becomes its latest label set, and the earlier ones keep their labels. A file
    that it had gets the labels of further scans: a run with `--limit N` imported only the first N rows. Metrics that
    rest on these are then deleted, and the caller closes runs afterwards, see `delete_metrics`.

    Args:
        connection: in the caller's transaction, which holds `lock_for_enqueue`.
        file: the file of the rows.
        rows: the rows to import; rows whose image is not in `ids` are left out.
        ids: scan id by image name.
        name: the label set's name.
        may_change: a new file may label a scan of the name's latest label set differently, or not at all. It does so
            too if it leaves open what that label set covers.

    Returns:
        The label set's id.

    Raises:
        UserError: the file does so, and may not; the caller rolls back.
    """
    label_set, added = _find_or_insert(connection, name, file), 0
    for first, last, given in _slices(rows, ids):
        stored = _read_stored(connection, label_set, first, last)
        if label_set.is_new:
            if not may_change and (_contradicts(given, stored.present) or (label_set.covers_less and stored.present)):
                raise UserError(
                    f"{file.path}: label set {name!r} is another file's and is never edited, and this file labels some "
                    "of its scans differently or not at all; choose another --name"
                )
            _end(connection, label_set, stored, given)
        added += _add(connection, label_set, stored, given)
    if added and not label_set.is_new:
        delete_metrics(connection, Run.label_set_id == label_set.id)
    return label_set.id


def _find_or_insert(connection: Connection, name: str, file: LabelsFile) -> _LabelSet:
    query = select(LabelSet.id, LabelSet.series_id, LabelSet.sha256, LabelSet.covered).where(LabelSet.name == name)
    series = connection.execute(query.order_by(LabelSet.id)).all()
    known = next((row for row in series if row.sha256 == file.sha256), None)
    if known is not None:
        next_id = next((row.id for row in series if row.id > known.id), None)
        return _LabelSet(id=known.id, series_id=known.series_id, next_id=next_id, is_new=False)
    greatest = select(func.coalesce(func.max(LabelSet.series_id), 0))
    series_id = series[0].series_id if series else connection.execute(greatest).scalar_one() + 1
    values = {
        "series_id": series_id,
        "name": name,
        "sha256": file.sha256,
        "covered": "|".join(finding for finding in SPECIFIC_FINDINGS if finding in file.covered),
        "reading": dict(file.reading),
        "imported_at": datetime.now(UTC),
    }
    label_set_id = connection.execute(insert(LabelSet).returning(LabelSet.id), values).scalar_one()
    covers_less = bool(series) and not set(series[-1].covered.split("|")) <= {"", *file.covered}
    return _LabelSet(id=label_set_id, series_id=series_id, next_id=None, is_new=True, covers_less=covers_less)


def _slices(rows: Iterable[LabelRow], ids: Mapping[str, int]) -> Iterator[tuple[int, int, AbstractSet[_ScanLabel]]]:
    """Yield ranges of scan ids, which together leave no id out, each with the labels that the rows give there."""
    ordered = sorted((row for row in rows if row.image_name in ids), key=lambda row: ids[row.image_name])
    first = 0
    for part in sliced(ordered, _ROWS_PER_SLICE):
        last = ids[part[-1].image_name]
        yield first, last, {(ids[row.image_name], *label) for row in part for label in _labels_of(row)}
        first = last + 1
    yield first, _GREATEST_ID, frozenset()


def _labels_of(row: LabelRow) -> Iterator[tuple[str, int]]:
    for findings, value in ((row.findings, POSITIVE), (row.negative, NEGATIVE), (row.uncertain, UNCERTAIN)):
        yield from ((finding, value) for finding in findings)


def _read_stored(connection: Connection, label_set: _LabelSet, first: int, last: int) -> _StoredLabels:
    query = (
        select(Label.scan_id, Label.finding, Label.value, Label.since_id, Label.until_id)
        .join(LabelSet, or_(is_label_of(), Label.until_id == LabelSet.id))
        # The series stands here too: databases look up no index by a condition inside of an OR.
        .where(Label.series_id == label_set.series_id, Label.scan_id.between(first, last), LabelSet.id == label_set.id)
    )
    present: dict[_ScanLabel, int] = {}
    ended: dict[_ScanLabel, int] = {}
    for scan_id, finding, value, since_id, until_id in connection.execute(query):
        (ended if until_id == label_set.id else present)[scan_id, finding, value] = since_id
    return _StoredLabels(present=present, ended=ended)


def _contradicts(given: AbstractSet[_ScanLabel], present: Mapping[_ScanLabel, int]) -> bool:
    labelled = {scan_id for scan_id, *_ in present}
    return {label for label in given if label[0] in labelled} != present.keys()


def _end(connection: Connection, label_set: _LabelSet, stored: _StoredLabels, given: AbstractSet[_ScanLabel]) -> None:
    """End, with a new label set, the labels that its file does not give."""
    gone = {label: since_id for label, since_id in stored.present.items() if label not in given}
    _set_until(connection, label_set, gone, label_set.id)


def _add(connection: Connection, label_set: _LabelSet, stored: _StoredLabels, given: AbstractSet[_ScanLabel]) -> int:
    """Add the labels that the label set lacks; returns how many these are."""
    lacking = given - stored.present.keys()
    _set_until(connection, label_set, {k: v for k, v in stored.ended.items() if k in lacking}, label_set.next_id)
    common = {"series_id": label_set.series_id, "since_id": label_set.id, "until_id": label_set.next_id}
    new = sorted(lacking - stored.ended.keys())
    rows = ({"scan_id": scan, "finding": finding, "value": value} | common for scan, finding, value in new)
    insert_rows(connection, Label.__table__, rows)
    return len(lacking)


def _set_until(
    connection: Connection, label_set: _LabelSet, labels: Mapping[_ScanLabel, int], until_id: int | None
) -> None:
    if not labels:
        return
    one = (Label.scan_id == bindparam("scan")) & (Label.finding == bindparam("name"))
    one &= (Label.series_id == label_set.series_id) & (Label.since_id == bindparam("since"))
    change = update(Label).where(one).values(until_id=until_id)
    rows = [{"scan": scan_id, "name": finding, "since": since} for (scan_id, finding, _), since in labels.items()]
    connection.execute(change, rows)
