"""Opens a run over scans, or joins the open one that is the same, and decides what is due."""

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

#: Any number will do, as long as every producer uses the same one.
_ENQUEUE_LOCK = 0x6E726561
#: Scans that are looked at together: what is known of each is held for so many, not for the whole run.
_PIECE: Final = 4_000


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a producer asks for; two equal requests share one open run."""

    source: str
    sha256: str
    dataset: str
    model_id: int
    label_set_id: int | None
    options: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """sha256 over everything that makes this request what it is."""
        parts = [self.sha256, self.dataset, self.model_id, self.label_set_id, dict(self.options)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def lock_for_enqueue(connection: Connection) -> None:
    """Let one producer at a time decide what is due; SQLite's write transaction does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ENQUEUE_LOCK})


def open_run(
    connection: Connection,
    request: RunRequest,
    scan_ids: Sequence[int],
    *,
    seen: Mapping[int, FoundImage] | None = None,
    changed: AbstractSet[int] = frozenset(),
    rescore: bool = False,
) -> tuple[int, bool]:
    """Open a run over these scans, or join the open one that is the same.

    Everything due becomes a pending outcome: what has none, what may have passed, what changed, and under `rescore`
    all of it. A due scan without an image is rejected as `missing` at once. An open run that is joined takes up only
    what changed since its scans were decided.

    Args:
        connection: the transaction is the caller's.
        request: what was asked for.
        scan_ids: all its scans.
        seen: by scan id, how the image is listed.
        changed: scans whose images have other bytes now.
        rescore: everything is due.

    Returns:
        The run's id, and whether it was joined.
    """
    open_one = select(Run.id).where(Run.identity == request.identity, Run.finished_at.is_(None))
    # Locked: a worker must not close it while it takes up more.
    open_one = open_one.with_for_update(key_share=True)
    joined = connection.execute(open_one).scalar()
    if joined is not None:
        take_up(connection, joined, request, changed, changed=changed, seen=seen)
        return joined, True
    run_id = connection.execute(insert(Run).returning(Run.id), _run_values(request)).scalar_one()
    newest_before = connection.execute(select(func.max(Outcome.id))).scalar() or 0
    for piece in sliced(sorted(scan_ids), _PIECE):
        again = frozenset(piece) if rescore else changed
        latest = _insert_due(connection, request, piece, again, seen or {})
        _link(connection, run_id, latest, newest_before)
    return run_id, False


def take_up(
    connection: Connection,
    run_id: int,
    request: RunRequest,
    scan_ids: AbstractSet[int],
    *,
    changed: AbstractSet[int] = frozenset(),
    seen: Mapping[int, FoundImage] | None = None,
) -> None:
    """Let an open run wait for new outcomes of those of these scans that are due: changed, or such that may pass."""
    mine = (RunScan.run_id == run_id) & (RunScan.scan_id == bindparam("key"))
    mine &= RunScan.outcome_id != bindparam("outcome")
    move = update(RunScan).where(mine).values(outcome_id=bindparam("outcome"), reused=False)
    for piece in sliced(sorted(scan_ids), _PIECE):
        latest = _insert_due(connection, request, piece, changed, seen or {})
        connection.execute(move, [{"key": scan_id, "outcome": last.id} for scan_id, last in latest.items()])


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
class _Latest:
    id: int
    revision: int
    state: str
    reason: str | None

    def is_due(self, *, has_image: bool, again: bool) -> bool:
        if self.state == PENDING:
            return False
        if self.state == REJECTED and self.reason in PASSING_REASONS:
            # Still no image is no news.
            return has_image or self.reason != "missing"
        return again


def _latest_outcomes(connection: Connection, request: RunRequest, scan_ids: Sequence[int]) -> dict[int, _Latest]:
    """By scan id, ascending; a scan without an outcome is not in it."""
    rows = connection.execute(
        select(Outcome.scan_id, Outcome.id, Outcome.revision, Outcome.state, Outcome.reason)
        # A dataset's ids lie together, so that few others come along; each by its number would be a long statement.
        .where(Outcome.scan_id.between(scan_ids[0], scan_ids[-1]), Outcome.model_id == request.model_id)
        .order_by(Outcome.scan_id, Outcome.revision),
        execution_options=STREAMING,
    )
    wanted = set(scan_ids)
    # Later revisions overwrite earlier ones.
    return {
        row.scan_id: _Latest(id=row.id, revision=row.revision, state=row.state, reason=row.reason)
        for row in rows
        if row.scan_id in wanted
    }


def _with_image(connection: Connection, scan_ids: Sequence[int]) -> set[int]:
    located = select(Scan.id).where(Scan.id.between(scan_ids[0], scan_ids[-1]), Scan.location.is_not(None))
    return set(connection.execute(located, execution_options=STREAMING).scalars())


def _insert_due(
    connection: Connection,
    request: RunRequest,
    scan_ids: Sequence[int],
    again: AbstractSet[int],
    seen: Mapping[int, FoundImage],
) -> dict[int, _Latest]:
    """Insert an outcome for each of these ascending scans that is due, and return the latest of each."""
    latest, known = _latest_outcomes(connection, request, scan_ids), _with_image(connection, scan_ids)

    def due() -> Iterator[dict[str, Any]]:
        for scan_id in scan_ids:
            last, has_image = latest.get(scan_id), scan_id in known
            if last is None or last.is_due(has_image=has_image, again=scan_id in again):
                revision = (last.revision if last else 0) + 1
                outcome = _new_outcome(scan_id, request.model_id, revision, has_image=has_image)
                yield outcome | {"seen_as": seen[scan_id].seen_as if scan_id in seen else None}

    insert_rows(connection, Outcome.__table__, due())
    return _latest_outcomes(connection, request, scan_ids)


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


def _link(connection: Connection, run_id: int, latest: Mapping[int, _Latest], newest_before: int) -> None:
    rows = (
        {
            "run_id": run_id,
            "scan_id": scan_id,
            "outcome_id": last.id,
            # One that another open run still waits for is shared, not reused.
            "reused": last.id <= newest_before and last.state != PENDING,
        }
        for scan_id, last in latest.items()
    )
    insert_rows(connection, RunScan.__table__, rows)
