"""Runs: opened, joined, followed and closed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, exists, func, insert, select, text, update

from db.errors import UserError
from db.outcomes import PASSING_REASONS
from db.scans import upsert
from db.schema import PENDING, QUARANTINED, REJECTED, LabelSet, Model, Outcome, Run, RunScan, Scan

#: Any number will do, as long as every producer uses the same one.
_ENQUEUE_LOCK = 0x6E726561
#: SQLite allows 32,766 bound values in a statement.
_PIECE = 10_000


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run as people speak of it."""

    id: int
    source: str
    dataset: str
    model: str
    model_sha256: str
    label_set: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A row of the view `run_progress`; expected = scored + rejected + quarantined + pending."""

    expected: int
    scored: int
    rejected: int
    quarantined: int
    pending: int
    reused: int


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
    connection: Connection, request: RunRequest, scan_ids: Sequence[int], *, again: AbstractSet[int] = frozenset()
) -> tuple[int, bool]:
    """Open a run over these scans, or join the open one that is the same.

    Everything due becomes a pending outcome: what has none, what may have passed, and `again`. A due scan without an
    image is rejected as `missing` at once.

    Returns:
        The run's id, and whether it was joined.
    """
    open_one = select(Run.id).where(Run.identity == request.identity, Run.finished_at.is_(None))
    joined = connection.execute(open_one).scalar()
    if joined is not None:
        return joined, True
    run_id = connection.execute(insert(Run).returning(Run.id), _run_values(request)).scalar_one()
    newest_before = connection.execute(select(func.max(Outcome.id))).scalar() or 0
    latest = _latest_outcomes(connection, request)
    known = _with_image(connection, request.dataset)
    _insert_due(connection, request.model_id, scan_ids, latest, known=known, again=again)
    _link(connection, run_id, scan_ids, _latest_outcomes(connection, request), newest_before)
    return run_id, False


def close_finished(engine: Engine, outcome_ids: Sequence[int] | None = None) -> list[int]:
    """Close the open runs (those that these outcomes belong to, or any) in which nothing is pending.

    A transaction of its own: inside the one that decides outcomes, two last workers would each still see the
    other's as pending. Only one caller gets a run's id back.
    """
    nothing_pending = ~exists().where(
        RunScan.run_id == Run.id, RunScan.outcome_id == Outcome.id, Outcome.state == PENDING
    )
    open_runs = update(Run).where(Run.finished_at.is_(None), nothing_pending)
    if outcome_ids is not None:
        open_runs = open_runs.where(Run.id.in_(select(RunScan.run_id).where(RunScan.outcome_id.in_(outcome_ids))))
    with engine.begin() as connection:
        return sorted(connection.execute(open_runs.values(finished_at=datetime.now(UTC)).returning(Run.id)).scalars())


def find_run(connection: Connection, run_id: int | None) -> RunInfo:
    """This run, or the latest.

    Raises:
        UserError: there is none.
    """
    query = (
        select(
            Run.id,
            Run.source,
            Run.dataset,
            Model.name.label("model"),
            Model.sha256.label("model_sha256"),
            LabelSet.name.label("label_set"),
            Run.created_at,
            Run.finished_at,
        )
        .join(Model, Model.id == Run.model_id)
        .outerjoin(LabelSet, LabelSet.id == Run.label_set_id)
        .order_by(Run.id.desc())
        .limit(1)
    )
    row = connection.execute(query if run_id is None else query.where(Run.id == run_id)).mappings().first()
    if row is None:
        raise UserError("there is no run yet; 'producer enqueue' opens one" if run_id is None else f"no run {run_id}")
    return RunInfo(**row)


def progress(connection: Connection, run_id: int) -> Progress:
    """How far a run is; all zero for one without scans."""
    row = connection.execute(text("SELECT * FROM run_progress WHERE run_id = :run"), {"run": run_id}).mappings().first()
    counts = dict(row or {})
    names = ("expected", "scored", "rejected", "quarantined", "pending", "reused")
    return Progress(**{name: int(counts.get(name, 0)) for name in names})


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A scan of a run that could not be scored."""

    image_name: str
    state: str
    reason: str
    detail: str


def failures_of(connection: Connection, run_id: int) -> list[Failure]:
    """The rejected and quarantined scans of a run, by reason and name."""
    rows = connection.execute(
        select(Scan.image_name, Outcome.state, Outcome.reason, Outcome.detail)
        .join(RunScan, RunScan.scan_id == Scan.id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, Outcome.state.in_((REJECTED, QUARANTINED)))
        .order_by(Outcome.reason, Scan.image_name)
    )
    return [Failure(image_name=r[0], state=r[1], reason=r[2] or "", detail=r[3] or "") for r in rows]


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


@dataclass(frozen=True, kw_only=True)
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


def _latest_outcomes(connection: Connection, request: RunRequest) -> dict[int, _Latest]:
    rows = connection.execute(
        select(Outcome.scan_id, Outcome.id, Outcome.revision, Outcome.state, Outcome.reason)
        .join(Scan, Scan.id == Outcome.scan_id)
        .where(Outcome.model_id == request.model_id, Scan.dataset == request.dataset)
        .order_by(Outcome.revision)
    )
    # Later revisions overwrite earlier ones.
    return {row.scan_id: _Latest(id=row.id, revision=row.revision, state=row.state, reason=row.reason) for row in rows}


def _with_image(connection: Connection, dataset: str) -> set[int]:
    located = select(Scan.id).where(Scan.dataset == dataset, Scan.location.is_not(None))
    return set(connection.execute(located).scalars())


def _insert_due(
    connection: Connection,
    model_id: int,
    scan_ids: Sequence[int],
    latest: Mapping[int, _Latest],
    *,
    known: set[int],
    again: AbstractSet[int],
) -> None:
    due = []
    for scan_id in sorted(scan_ids):
        last, has_image = latest.get(scan_id), scan_id in known
        if last is None or last.is_due(has_image=has_image, again=scan_id in again):
            due.append(_new_outcome(scan_id, model_id, (last.revision if last else 0) + 1, has_image=has_image))
    if due:
        connection.execute(upsert(connection, Outcome.__table__).on_conflict_do_nothing(), due)


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


def _link(
    connection: Connection, run_id: int, scan_ids: Sequence[int], latest: Mapping[int, _Latest], newest_before: int
) -> None:
    rows = [
        {
            "run_id": run_id,
            "scan_id": scan_id,
            "outcome_id": latest[scan_id].id,
            # One that another open run still waits for is shared, not reused.
            "reused": latest[scan_id].id <= newest_before and latest[scan_id].state != PENDING,
        }
        for scan_id in sorted(scan_ids)
    ]
    for start in range(0, len(rows), _PIECE):
        connection.execute(insert(RunScan), rows[start : start + _PIECE])
