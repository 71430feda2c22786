"""Opens a run over scans or joins an identical open one, and finds out which scans are due."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from db.engine.bulk_insert import insert_rows, sliced
from db.engine.session import STREAMING
from db.ledger.outcomes import CONFLICT, PASSING_REASONS
from db.ledger.scans import FoundImage
from db.schema.tables import PENDING, REJECTED, Outcome, Run, RunScan, Scan

#: An arbitrary number that every producer uses.
_ENQUEUE_LOCK_KEY: Final = 0x6E726561
#: Scans that are processed together: their latest outcomes are in memory, not those of the whole run.
_SCANS_PER_SLICE: Final = 4_000
#: Every column of a new outcome besides its key: all rows of one insert need the same.
_COMMON: Final = {
    "attempts": 0,
    **dict.fromkeys(("state", "reason", "detail", "location", "seen_as", "scored_at")),
}


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The run that a producer asks for. Equal requests share one open run."""

    source: str
    sha256: str
    dataset: str
    model_id: int
    label_set_id: int | None
    options: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """sha256 over everything that distinguishes this request from others."""
        parts = [self.sha256, self.dataset, self.model_id, self.label_set_id, dict(self.options)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def lock_for_enqueue(connection: Connection) -> None:
    """Let one producer at a time find out which scans are due; on SQLite the write transaction already does so."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ENQUEUE_LOCK_KEY})


def open_run(
    connection: Connection,
    request: RunRequest,
    scan_ids: Sequence[int],
    *,
    images: Mapping[int, FoundImage] | None = None,
    changed: AbstractSet[int] = frozenset(),
    conflicts: Mapping[int, str] | None = None,
    rescore: bool = False,
    admitted: AbstractSet[str] = frozenset(),
) -> tuple[int, bool]:
    """Open a run over these scans, or join an identical open one.

    Each due scan gets a pending outcome, which is for the scan's image as it is listed now and for no other. A scan is
    due if it has no outcome, was rejected for a reason that may have passed or is admitted, or has changed; with
    `rescore`, all scans are due. A due scan without an image is rejected as `missing` at once. Joining an open run adds
    new outcomes only for scans that changed.

    Args:
        connection: in the caller's transaction.
        request: the run that was asked for.
        scan_ids: all scans of the run.
        images: the listed image of each scan, by scan id.
        changed: ids of scans that were decided from other bytes than are listed now, or wait for another place or
            version.
        conflicts: for scans that the source takes for others, why they are rejected as `conflict`; by scan id. They are
            part of the run, and their own outcomes stay.
        rescore: whether all scans are due.
        admitted: reasons of rejection that stand no longer.

    Returns:
        The run's id, and whether it was joined.
    """
    open_one = select(Run.id).where(Run.identity == request.identity, Run.finished_at.is_(None))
    # Locked, so that no worker closes the run while it gets new outcomes.
    open_one = open_one.with_for_update(key_share=True)
    joined = connection.execute(open_one).scalar()
    if joined is not None:
        take_up(connection, joined, request, changed, changed=changed, images=images)
        return joined, True
    run_id = connection.execute(insert(Run).returning(Run.id), _run_values(request)).scalar_one()
    newest_before = connection.execute(select(func.max(Outcome.id))).scalar() or 0
    for slice_ids in sliced(sorted(scan_ids), _SCANS_PER_SLICE):
        latest = _insert_due(connection, request, slice_ids, changed, images or {}, rescore=rescore, admitted=admitted)
        _link_outcomes(connection, run_id, latest, newest_before)
    for slice_ids in sliced(sorted(conflicts or ()), _SCANS_PER_SLICE):
        latest = _insert_conflicts(connection, request, slice_ids, conflicts or {})
        _link_outcomes(connection, run_id, latest, newest_before)
    return run_id, False


def take_up(
    connection: Connection,
    run_id: int,
    request: RunRequest,
    scan_ids: AbstractSet[int],
    *,
    changed: AbstractSet[int] = frozenset(),
    images: Mapping[int, FoundImage] | None = None,
) -> None:
    """Insert new outcomes for those of these scans that are due, and let an open run wait for them.

    A scan is due if it is in `changed`, or was rejected for a reason that may have passed.
    """
    is_outdated = (RunScan.run_id == run_id) & (RunScan.scan_id == bindparam("key"))
    is_outdated &= RunScan.outcome_id != bindparam("outcome")
    relink = update(RunScan).where(is_outdated).values(outcome_id=bindparam("outcome"), reused=False)
    for slice_ids in sliced(sorted(scan_ids), _SCANS_PER_SLICE):
        latest = _insert_due(connection, request, slice_ids, changed, images or {})
        connection.execute(relink, [{"key": scan_id, "outcome": last.id} for scan_id, last in latest.items()])


def _run_values(request: RunRequest) -> dict[str, Any]:
    return {
        "identity": request.identity,
        "source": request.source,
        "sha256": request.sha256,
        "dataset": request.dataset,
        "model_id": request.model_id,
        "label_set_id": request.label_set_id,
        "options": dict(request.options),
        "created_at": datetime.now(UTC),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _LatestOutcome:
    id: int
    #: The scan's greatest.
    revision: int
    state: str
    reason: str | None

    def is_due(self, *, has_image: bool, has_changed: bool, rescore: bool, admitted: AbstractSet[str]) -> bool:
        if self.state == PENDING:
            return has_changed
        if self.reason == CONFLICT:
            return True
        if self.state == REJECTED and self.reason in PASSING_REASONS:
            # A scan that still has no image keeps its rejection.
            return has_image or self.reason != "missing"
        return has_changed or rescore or (self.state == REJECTED and self.reason in admitted)


def _read_latest_outcomes(
    connection: Connection, request: RunRequest, scan_ids: Sequence[int]
) -> dict[int, _LatestOutcome]:
    """The latest outcome of each of these ascending scans, by scan id; scans without an outcome are left out.

    Where a source took a scan for another one, that outcome is the latest only if the scan has no other.
    """
    latest: dict[int, _LatestOutcome] = {}
    for scan_id, outcome in _read_outcomes(connection, request, scan_ids):
        if outcome.reason == CONFLICT and scan_id in latest:
            latest[scan_id] = replace(latest[scan_id], revision=outcome.revision)
        else:
            latest[scan_id] = outcome
    return latest


def _read_outcomes(
    connection: Connection, request: RunRequest, scan_ids: Sequence[int]
) -> Iterator[tuple[int, _LatestOutcome]]:
    """The outcomes of these ascending scans under the model, with the scan's id; later revisions come later."""
    rows = connection.execute(
        select(Outcome.scan_id, Outcome.id, Outcome.revision, Outcome.state, Outcome.reason)
        # The ids of a dataset are close together, so the range adds few other scans; a list of ids would be long.
        .where(Outcome.scan_id.between(scan_ids[0], scan_ids[-1]), Outcome.model_id == request.model_id)
        .order_by(Outcome.scan_id, Outcome.revision),
        execution_options=STREAMING,
    )
    wanted = set(scan_ids)
    return (
        (row.scan_id, _LatestOutcome(id=row.id, revision=row.revision, state=row.state, reason=row.reason))
        for row in rows
        if row.scan_id in wanted
    )


def _read_locations(connection: Connection, scan_ids: Sequence[int]) -> dict[int, str]:
    """Where the images of these ascending scans lie, by scan id; scans without an image are left out."""
    located = select(Scan.id, Scan.location)
    located = located.where(Scan.id.between(scan_ids[0], scan_ids[-1]), Scan.location.is_not(None))
    return {row.id: str(row.location) for row in connection.execute(located, execution_options=STREAMING)}


def _insert_due(
    connection: Connection,
    request: RunRequest,
    scan_ids: Sequence[int],
    changed: AbstractSet[int],
    images: Mapping[int, FoundImage],
    *,
    rescore: bool = False,
    admitted: AbstractSet[str] = frozenset(),
) -> dict[int, _LatestOutcome]:
    """Insert an outcome for each of these ascending scans that is due, and return every scan's latest outcome."""
    latest, locations = _read_latest_outcomes(connection, request, scan_ids), _read_locations(connection, scan_ids)

    def due() -> Iterator[dict[str, Any]]:
        for scan_id in scan_ids:
            last, has_image, has_changed = latest.get(scan_id), scan_id in locations, scan_id in changed
            if last is None or last.is_due(
                has_image=has_image, has_changed=has_changed, rescore=rescore, admitted=admitted
            ):
                yield _next_key(request, scan_id, last) | _image_columns(locations.get(scan_id), images.get(scan_id))

    insert_rows(connection, Outcome.__table__, due())
    return _read_latest_outcomes(connection, request, scan_ids)


def _next_key(request: RunRequest, scan_id: int, last: _LatestOutcome | None) -> dict[str, Any]:
    return {"scan_id": scan_id, "model_id": request.model_id, "revision": last.revision + 1 if last else 1}


def _image_columns(location: str | None, listed: FoundImage | None) -> dict[str, Any]:
    """The columns of a new outcome for the image at a location; without one it is rejected at once."""
    if location is None:
        return _rejected("missing", "no image of this name was found when the run was opened")
    seen_as = listed.seen_as if listed else None
    return _COMMON | {"state": PENDING, "location": location, "seen_as": seen_as}


def _rejected(reason: str, detail: str) -> dict[str, Any]:
    return _COMMON | {"state": REJECTED, "reason": reason, "detail": detail, "scored_at": datetime.now(UTC)}


def _insert_conflicts(
    connection: Connection, request: RunRequest, scan_ids: Sequence[int], sentences: Mapping[int, str]
) -> dict[int, _LatestOutcome]:
    """Reject these ascending scans as `conflict`; a scan whose latest revision says so already keeps that one."""
    latest = dict(_read_outcomes(connection, request, scan_ids))

    def due() -> Iterator[dict[str, Any]]:
        for scan_id in scan_ids:
            last = latest.get(scan_id)
            if last is None or last.reason != CONFLICT:
                yield _next_key(request, scan_id, last) | _rejected(CONFLICT, sentences[scan_id])

    insert_rows(connection, Outcome.__table__, due())
    return dict(_read_outcomes(connection, request, scan_ids))


def _link_outcomes(
    connection: Connection, run_id: int, latest: Mapping[int, _LatestOutcome], newest_before: int
) -> None:
    rows = (
        {
            "run_id": run_id,
            "scan_id": scan_id,
            "outcome_id": last.id,
            # An outcome that another open run still waits for is shared, not reused.
            "reused": last.id <= newest_before and last.state != PENDING,
        }
        for scan_id, last in latest.items()
    )
    insert_rows(connection, RunScan.__table__, rows)
