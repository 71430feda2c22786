"""Runs: which are open, how far they are, what failed in them. `db.ledger.open_run` opens them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, case, false, func, select, text, update

from db.errors import UserError
from db.rates import measured_rate
from db.schema.tables import (
    PENDING,
    QUARANTINED,
    REJECTED,
    SCORED,
    LabelSet,
    Model,
    Outcome,
    Run,
    RunScan,
    Scan,
)

#: The outcomes of one batch get their moments within this time.
_BATCH_SPREAD: Final = timedelta(milliseconds=10)
#: What is said where a ledger has no run.
NO_RUN_YET: Final = "there is no run yet; 'producer enqueue' opens one"
#: Key of `Run.options`. It is no part of the run's identity.
_LEFT_OUT: Final = "left_out"
#: How many of a model's runs are asked for a rate, the latest first.
_RUNS_ASKED: Final = 10


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What people are told of a run."""

    id: int
    source: str
    dataset: str
    model: str
    model_sha256: str
    label_set: str | None
    created_at: datetime
    finished_at: datetime | None
    cancelled_at: datetime | None
    #: When and why workers stopped it.
    stopped_at: datetime | None
    stop_reason: str | None

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still until it is resumed."""
        return self.stopped_at is not None and self.finished_at is None

    @property
    def state(self) -> str:
        """`open`, `stopped`, `cancelled` or `finished`."""
        if self.is_stopped:
            return "stopped"
        if self.cancelled_at is not None:
            return "cancelled"
        return "open" if self.finished_at is None else "finished"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A row of the view `run_progress`; expected = scored + rejected + quarantined + pending."""

    expected: int
    scored: int
    rejected: int
    quarantined: int
    pending: int
    reused: int


def nothing_pending(connection: Connection, outcome_ids: Sequence[int] | None = None) -> list[int]:
    """The runs to close, in order: those of these outcomes, or all. Nothing is pending in them.

    They are open, or finished without what `db.metrics.aggregate` stores: that was deleted when something changed that
    it rests on, or the run was cancelled.
    """
    due = select(Run.id).where(is_to_close()).order_by(Run.id)
    if outcome_ids is not None:
        due = due.where(Run.id.in_(select(RunScan.run_id).where(RunScan.outcome_id.in_(outcome_ids))))
    return list(connection.execute(due).scalars())


def is_to_close() -> ColumnElement[bool]:
    """Whether nothing is pending in a run that is open or lacks what `db.metrics.aggregate` stores."""
    is_due = Run.finished_at.is_(None) | Run.can_tell_held_out.is_(None)
    # CASE keeps this order. A database may otherwise read all outcomes of every finished run, to find none pending.
    return case((is_due, _has_nothing_pending()), else_=false())


def is_closed(connection: Connection, run_id: int) -> bool:
    """Whether nothing is pending in a run, and what `db.metrics.aggregate` stores of it is there.

    A cancelled run is finished before that, if another run still waits for some of its scans.
    """
    is_stored = Run.finished_at.is_not(None) & Run.can_tell_held_out.is_not(None)
    return bool(connection.execute(select(is_stored).where(Run.id == run_id)).scalar())


def _has_nothing_pending() -> ColumnElement[bool]:
    # This looks for the first pending outcome. PostgreSQL turns NOT EXISTS into a join over the whole run: 200 ms for a
    # million scans where this takes 2, and each chunk asks.
    first = (
        select(RunScan.outcome_id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == Run.id, Outcome.state == PENDING)
        .limit(1)
        .correlate(Run)
        .scalar_subquery()
    )
    return first.is_(None)


def find_run(connection: Connection, run_id: int | None) -> RunInfo:
    """Find a run by its number, or the latest.

    Raises:
        UserError: there is no such run.
    """
    query = _select_runs().limit(1)
    row = connection.execute(query if run_id is None else query.where(Run.id == run_id)).mappings().first()
    if row is None:
        raise no_such_run(run_id)
    return RunInfo(**row)


def no_such_run(run_id: int | None) -> UserError:
    """The error of a run that does not exist; None: there is not even a latest one."""
    return UserError(NO_RUN_YET if run_id is None else f"no run {run_id}")


def latest_runs(connection: Connection, limit: int, skip: int = 0) -> list[RunInfo]:
    """The latest runs but for the newest `skip`, at most `limit` of them, the newest first."""
    query = _select_runs().limit(limit).offset(skip)
    return [RunInfo(**row) for row in connection.execute(query).mappings()]


def count_runs(connection: Connection) -> int:
    """How many runs the ledger has."""
    return connection.execute(select(func.count()).select_from(Run)).scalar_one()


def _select_runs() -> Select[*tuple[Any, ...]]:
    """The columns of `RunInfo`, the newest run first."""
    return (
        select(
            Run.id,
            Run.source,
            Run.dataset,
            Model.name.label("model"),
            Model.sha256.label("model_sha256"),
            LabelSet.name.label("label_set"),
            Run.created_at,
            Run.finished_at,
            Run.cancelled_at,
            Run.stopped_at,
            Run.stop_reason,
        )
        .join(Model, Model.id == Run.model_id)
        .outerjoin(LabelSet, LabelSet.id == Run.label_set_id)
        .order_by(Run.id.desc())
    )


def open_runs_of(connection: Connection, outcome_ids: Sequence[int]) -> dict[int, dict[int, datetime | None]]:
    """Which open runs wait for each of these outcomes, oldest first, and when each was resumed last.

    Outcomes that no open run waits for are left out. A stopped run waits for nothing.
    """
    rows = connection.execute(
        select(RunScan.outcome_id, RunScan.run_id, Run.resumed_at)
        .join(Run, Run.id == RunScan.run_id)
        .where(RunScan.outcome_id.in_(outcome_ids), Run.finished_at.is_(None), Run.stopped_at.is_(None))
        .order_by(RunScan.run_id)
    )
    runs: dict[int, dict[int, datetime | None]] = {}
    for outcome_id, run_id, resumed_at in rows:
        runs.setdefault(outcome_id, {})[run_id] = resumed_at
    return runs


def still_open_runs(connection: Connection, run_ids: Iterable[int]) -> dict[int, datetime | None]:
    """Those of these runs that are neither closed nor stopped, and when each was resumed last."""
    is_open = Run.finished_at.is_(None) & Run.stopped_at.is_(None)
    rows = connection.execute(select(Run.id, Run.resumed_at).where(Run.id.in_(sorted(run_ids)), is_open))
    return {row.id: row.resumed_at for row in rows}


def progress(connection: Connection, run_id: int) -> Progress:
    """How far a run is; all zero for one without scans."""
    row = connection.execute(text("SELECT * FROM run_progress WHERE run_id = :run"), {"run": run_id}).mappings().first()
    counts = dict(row or {})
    names = ("expected", "scored", "rejected", "quarantined", "pending", "reused")
    return Progress(**{name: int(counts.get(name, 0)) for name in names})


def count_notes(connection: Connection, run_id: int) -> dict[str, int]:
    """Scored scans of a run by each code of what was noted of them, A to Z. A scan may have several."""
    noted = (
        select(Outcome.notes, func.count())
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED, Outcome.notes.is_not(None))
        .group_by(Outcome.notes)
    )
    counts = Counter[str]()
    for notes, scans in connection.execute(noted):
        counts.update(dict.fromkeys((notes or "").split(","), scans))
    return dict(sorted(counts.items()))


def count_reasons(connection: Connection, run_id: int) -> dict[str, int]:
    """Rejected and quarantined scans of a run by reason, the most frequent first."""
    scans = func.count()
    query = (
        select(Outcome.reason, scans)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state.in_((REJECTED, QUARANTINED)))
        .group_by(Outcome.reason)
        .order_by(scans.desc(), Outcome.reason)
    )
    return {reason or "unknown": count for reason, count in connection.execute(query)}


def note_left_out(connection: Connection, run_id: int, left_out: Mapping[str, int] | None) -> None:
    """Keep with a run what the listing of its source left out, for its report; None if nothing was listed."""
    options = connection.execute(select(Run.options).where(Run.id == run_id)).scalar_one()
    noted = None if left_out is None else {str(reason): count for reason, count in left_out.items()}
    connection.execute(update(Run).where(Run.id == run_id).values(options={**options, _LEFT_OUT: noted}))


def left_out_of(connection: Connection, run_id: int) -> dict[str, int] | None:
    """What the latest listing of a run's source left out, by reason; None if nothing was listed or noted."""
    left_out: dict[str, int] | None = (
        connection.execute(select(Run.options).where(Run.id == run_id)).scalar_one().get(_LEFT_OUT)
    )
    return left_out


def rate_of(connection: Connection, model_id: int) -> float | None:
    """Scans per second of the model's latest run that was long enough to measure; None if none of the last ten was.

    It was measured with the machines and workers of that run: an expectation, not a promise.
    """
    latest = select(Run.id).where(Run.model_id == model_id).order_by(Run.id.desc()).limit(_RUNS_ASKED)
    measured = (rate_of_run(connection, run_id) for run_id in connection.execute(latest).scalars().all())
    return next((rate for rate in measured if rate is not None), None)


def rate_of_run(connection: Connection, run_id: int) -> float | None:
    """Scans per second between a run's first and last batch; None if it scored too little itself, see `db.rates`."""
    scored_at = (
        select(Outcome.scored_at)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(Outcome.state == SCORED, ~RunScan.reused, RunScan.run_id == run_id)
        .subquery()
    ).c.scored_at
    first, last = connection.execute(select(func.min(scored_at), func.max(scored_at))).one()
    if first is None or last is None:
        return None
    later = select(func.count()).where(scored_at > first + _BATCH_SPREAD)
    return measured_rate(connection.execute(later).scalar_one(), (last - first).total_seconds())


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A scan of a run that could not be scored."""

    image_name: str
    #: None if there is no image.
    location: str | None
    state: str
    reason: str
    detail: str


def failures_of(connection: Connection, run_id: int, *, own: bool = False) -> list[Failure]:
    """The rejected and quarantined scans of a run, by reason and name; `own` are those that it decided itself."""
    location = func.coalesce(Outcome.location, Scan.location)
    query = (
        select(Scan.image_name, location, Outcome.state, Outcome.reason, Outcome.detail)
        .join(RunScan, RunScan.scan_id == Scan.id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, Outcome.state.in_((REJECTED, QUARANTINED)))
        .order_by(Outcome.reason, Scan.image_name)
    )
    rows = connection.execute(query.where(~RunScan.reused) if own else query)
    return [
        Failure(image_name=name, location=location, state=state, reason=reason or "", detail=detail or "")
        for name, location, state, reason, detail in rows
    ]
