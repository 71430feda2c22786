"""Opens a run over scans or joins an identical open one, and finds out which scans are due."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from db.engine.bulk_insert import insert_rows, sliced
from db.engine.session import STREAMING
from db.ledger.outcomes import PASSING_REASONS
from db.ledger.scans import FoundImage
from db.schema.tables import PENDING, REJECTED, Outcome, Run, RunScan, Scan

#: An arbitrary number that every producer uses.
_ENQUEUE_LOCK_KEY: Final = 0x6E726561
#: Scans that are processed together: their latest outcomes are in memory, not those of the whole run.
_SCANS_PER_SLICE: Final = 4_000


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
    rescore: bool = False,
) -> tuple[int, bool]:
    """Open a run over these scans, or join an identical open one.

    Each due scan gets a pending outcome. A scan is due if it has no outcome, was rejected for a reason that may have
    passed, or has changed; with `rescore`, all scans are due. A due scan without an image is rejected as `missing` at
    once. Joining an open run adds new outcomes only for scans that changed since they were decided.

    Args:
        connection: in the caller's transaction.
        request: the run that was asked for.
        scan_ids: all scans of the run.
        images: the listed image of each scan, by scan id.
        changed: ids of scans whose images have other bytes now.
        rescore: whether all scans are due.

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
        outdated = frozenset(slice_ids) if rescore else changed
        latest = _insert_due(connection, request, slice_ids, outdated, images or {})
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
    revision: int
    state: str
    reason: str | None

    def is_due(self, *, has_image: bool, is_outdated: bool) -> bool:
        if self.state == PENDING:
            return False
        if self.state == REJECTED and self.reason in PASSING_REASONS:
            # A scan that still has no image keeps its rejection.
            return has_image or self.reason != "missing"
        return is_outdated


def _read_latest_outcomes(
    connection: Connection, request: RunRequest, scan_ids: Sequence[int]
) -> dict[int, _LatestOutcome]:
    """The latest outcome of each of these ascending scans, by scan id; scans without an outcome are left out."""
    rows = connection.execute(
        select(Outcome.scan_id, Outcome.id, Outcome.revision, Outcome.state, Outcome.reason)
        # The ids of a dataset are close together, so the range adds few other scans; a list of ids would be long.
        .where(Outcome.scan_id.between(scan_ids[0], scan_ids[-1]), Outcome.model_id == request.model_id)
        .order_by(Outcome.scan_id, Outcome.revision),
        execution_options=STREAMING,
    )
    wanted = set(scan_ids)
    # Later revisions overwrite earlier ones.
    return {
        row.scan_id: _LatestOutcome(id=row.id, revision=row.revision, state=row.state, reason=row.reason)
        for row in rows
        if row.scan_id in wanted
    }


def _ids_with_image(connection: Connection, scan_ids: Sequence[int]) -> set[int]:
    located = select(Scan.id).where(Scan.id.between(scan_ids[0], scan_ids[-1]), Scan.location.is_not(None))
    return set(connection.execute(located, execution_options=STREAMING).scalars())


def _insert_due(
    connection: Connection,
    request: RunRequest,
    scan_ids: Sequence[int],
    outdated: AbstractSet[int],
    images: Mapping[int, FoundImage],
) -> dict[int, _LatestOutcome]:
    """Insert an outcome for each of these ascending scans that is due, and return every scan's latest outcome."""
    latest, with_image = _read_latest_outcomes(connection, request, scan_ids), _ids_with_image(connection, scan_ids)

    def due() -> Iterator[dict[str, Any]]:
        for scan_id in scan_ids:
            last, has_image = latest.get(scan_id), scan_id in with_image
            if last is None or last.is_due(has_image=has_image, is_outdated=scan_id in outdated):
                revision = (last.revision if last else 0) + 1
                outcome = _new_outcome(scan_id, request.model_id, revision, has_image=has_image)
                yield outcome | {"seen_as": images[scan_id].seen_as if scan_id in images else None}

    insert_rows(connection, Outcome.__table__, due())
    return _read_latest_outcomes(connection, request, scan_ids)


def _new_outcome(scan_id: int, model_id: int, revision: int, *, has_image: bool) -> dict[str, Any]:
    return {
        "scan_id": scan_id,
        "model_id": model_id,
        "revision": revision,
        "state": PENDING if has_image else REJECTED,
        "reason": None if has_image else "missing",
        "detail": None if has_image else "no image of this name was found when the run was opened",
        "attempts": 0,
        "scored_at": None if has_image else datetime.now(UTC),
    }


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
