"""Outcomes: which are pending, and the one place that records them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, case, exists, func, insert, null, select, update
from sqlalchemy.orm import aliased

from db.engine.bulk_insert import sliced
from db.engine.session import STREAMING
from db.findings import column_of
from db.ledger import outcomes_postgresql
from db.ledger.runs import still_open_runs
from db.ledger.scans import FoundImage
from db.schema.tables import PENDING, QUARANTINED, REJECTED, SCORED, Model, Outcome, Run, RunScan, Scan, Scores

#: The reason codes of rejections. docs/scans.md documents them.
REASONS: Final = (
    *("missing", "unreadable", "s3", "cancelled", "changed", "conflict"),
    *("empty", "not_image", "dicom", "truncated", "too_large", "unsupported", "constant", "colour"),
    # What a DICOM header says against scoring, see `worker.dicom.admission`.
    *("sop_class", "secondary_capture", "for_processing", "body_part", "view", "burned_in", "window"),
)
#: Rejections that may pass: the next run makes such a scan due again, as a new revision.
PASSING_REASONS: Final = ("missing", "unreadable", "s3", "cancelled", "changed")
#: The reason of a scan that a source takes for another one. It says nothing about the scan itself, so other runs never
#: reuse it.
CONFLICT: Final = "conflict"
#: A scan that killed its worker this often while it was alone is quarantined.
ATTEMPTS_CAP: Final = 3
KILLED_WORKER: Final = "killed_worker"
#: SQLite accepts a few ten thousand values in a list.
_SCANS_PER_QUERY: Final = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingScan:
    """A scan without an outcome yet: the one image that may be scored, and what tells that an id still means it.

    A restored database gives the ids of outcomes and scans once more, to other scans. But what was read at one location
    by one model belongs to no other location and no other model.
    """

    outcome_id: int
    #: The number by which logs name it.
    scan_id: int
    model_sha256: str
    revision: int
    #: Absolute path or s3:// address.
    location: str
    #: `FoundImage.version` when the outcome was opened; None where it was not checked.
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A scan's scores by finding, each in [0, 1]."""

    outcome_id: int
    scores: Mapping[str, float]
    content: str
    runtime: str
    precision: str
    #: sha256 of the export that computed them; None for Keras.
    export_sha256: str | None = None
    #: Codes of what is unusual about the image, without commas.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A scan that cannot be scored: its reason code and sentence."""

    outcome_id: int
    reason: str
    detail: str
    content: str | None = None
    #: `s3://bucket/` where the whole store refuses this worker, not the one object.
    store: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What `record_outcomes` came to."""

    #: How many outcomes that call recorded; the others were no longer pending.
    count: int
    #: The runs asked about that are neither closed nor stopped, and when each was resumed last.
    open_runs: Mapping[int, datetime | None]


def is_wanted() -> ColumnElement[bool]:
    """Whether a run that is not stopped waits for an outcome.

    While no run is stopped, or every open run is, this costs one look at the few open runs.
    """
    run, waits = aliased(Run), aliased(RunScan)
    is_open = run.finished_at.is_(None)
    some_stopped = exists().where(is_open, run.stopped_at.is_not(None))
    some_going = exists().where(is_open, run.stopped_at.is_(None))
    by_one = exists().where(waits.outcome_id == Outcome.id, run.id == waits.run_id, is_open, run.stopped_at.is_(None))
    return ~some_stopped | (some_going & by_one)


def still_pending(connection: Connection, outcome_ids: Sequence[int], model_sha256: str) -> list[PendingScan]:
    """Which of these outcomes of a model are pending, in the order of their ids."""
    return _pending(connection, Outcome.id.in_(outcome_ids) & (Model.sha256 == model_sha256) & is_wanted())


def pending_of_model(connection: Connection, model_id: int, limit: int | None = None) -> list[PendingScan]:
    """The pending scans of a model, or the first `limit` of them, without those of stopped runs; by outcome id."""
    return _pending(connection, (Outcome.model_id == model_id) & is_wanted(), limit)


def count_pending(connection: Connection, model_id: int) -> int:
    """How many scans of a model are pending, without those of stopped runs."""
    waiting = select(func.count()).where(Outcome.model_id == model_id, Outcome.state == PENDING, is_wanted())
    return connection.execute(waiting).scalar_one()


def pending_of_run(connection: Connection, run_id: int) -> list[PendingScan]:
    """All pending scans of a run, stopped or not, in the order of outcome ids."""
    return _pending(connection, Outcome.id.in_(select(RunScan.outcome_id).where(RunScan.run_id == run_id)))


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownImage:
    """The image of a scan as the ledger knows it, and the scan's newest outcome under a model."""

    scan_id: int
    image_name: str
    #: Where the scan lies, as far as is known.
    location: str | None
    #: None where the scan has no outcome under the model.
    outcome_id: int | None
    is_pending: bool
    #: It stands until the image changes: it is neither pending nor a rejection that may pass.
    stands: bool
    #: `FoundImage.seen_as` of the listing that a pending outcome was opened for, or of the last listing in which the
    #: image had `content`. None where no listing checked it, or where a stopped run rejected it: other bytes of the
    #: same size and time may have been there then.
    seen_as: str | None
    #: None where its bytes were never hashed: it is pending, or kept killing its worker.
    content: str | None

    @property
    def version(self) -> str | None:
        """`FoundImage.version` in that listing."""
        return _version_of(self.seen_as)


def known_images(connection: Connection, dataset: str, model_id: int) -> Iterator[KnownImage]:
    """The image of each scan of a dataset, with the newest outcome under a model."""
    newer = aliased(Outcome)
    later = (newer.scan_id == Outcome.scan_id) & (newer.model_id == model_id) & (newer.revision > Outcome.revision)
    newest = (Outcome.scan_id == Scan.id) & (Outcome.model_id == model_id) & is_of_scan(Outcome)
    newest &= ~exists().where(later, is_of_scan(newer))
    rows = connection.execute(
        select(
            Scan.id,
            Scan.image_name,
            Scan.location,
            Outcome.id.label("outcome_id"),
            Outcome.state,
            Outcome.reason,
            case((_is_in_doubt(), null()), else_=Outcome.seen_as).label("seen_as"),
            Outcome.content,
        )
        .outerjoin(Outcome, newest)
        .where(Scan.dataset == dataset),
        execution_options=STREAMING,
    )
    return (
        KnownImage(
            scan_id=row.id,
            image_name=row.image_name,
            location=row.location,
            outcome_id=row.outcome_id,
            is_pending=row.state == PENDING,
            stands=row.state not in (None, PENDING) and row.reason not in PASSING_REASONS,
            seen_as=row.seen_as,
            content=row.content,
        )
        for row in rows
    )


def is_of_scan(outcome: type[Outcome]) -> ColumnElement[bool]:
    """Whether an outcome says something about its scan, and not that a source took it for another one."""
    return func.coalesce(outcome.reason, "") != CONFLICT


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenBytes:
    """What the ledger knows of the bytes of a scan's image, from outcomes under any model."""

    #: Identity of the bytes that were read last (`Outcome.content`); None if they were never hashed.
    content: str | None = None
    #: An outcome waits for them, or they kept killing a worker.
    is_open: bool = False


def seen_bytes(connection: Connection, scan_ids: Sequence[int]) -> dict[int, SeenBytes]:
    """What is known of the bytes of these scans' images; left out are scans of which nothing is or will be read."""
    seen: dict[int, SeenBytes] = {}
    for piece in sliced(scan_ids, _SCANS_PER_QUERY):
        rows = connection.execute(
            select(Outcome.scan_id, Outcome.content, Outcome.state)
            .where(Outcome.scan_id.in_(piece), is_of_scan(Outcome))
            .where(Outcome.content.is_not(None) | Outcome.state.in_((PENDING, QUARANTINED)))
            # Later outcomes overwrite earlier ones.
            .order_by(Outcome.id)
        )
        for scan_id, content, state in rows:
            before = seen.get(scan_id, SeenBytes())
            is_open = before.is_open or state in (PENDING, QUARANTINED)
            seen[scan_id] = SeenBytes(content=content or before.content, is_open=is_open)
    return seen


def _is_in_doubt() -> ColumnElement[bool]:
    """Whether an outcome is a rejection in a stopped run, so that its cause may have been the storage."""
    stopped = Run.finished_at.is_(None) & Run.stopped_at.is_not(None)
    holds = exists().where(RunScan.outcome_id == Outcome.id, Run.id == RunScan.run_id, stopped)
    return (Outcome.state == REJECTED) & holds


def note_seen(connection: Connection, seen: Mapping[int, str]) -> None:
    """Note, by outcome id, the current listing of images whose content has not changed."""
    if seen:
        statement = update(Outcome).where(Outcome.__table__.c.id == bindparam("key"))
        values = [{"key": outcome_id, "now": seen[outcome_id]} for outcome_id in sorted(seen)]
        connection.execute(statement.values(seen_as=bindparam("now")), values)


def record_outcomes(
    connection: Connection,
    outcomes: Sequence[Scored | Rejected],
    run_ids: Iterable[int] = (),
    *,
    asked: Mapping[int, PendingScan] | None = None,
) -> Recorded:
    """Record outcomes; the first writer wins, and an outcome that is no longer pending stays as it is.

    Args:
        connection: its transaction is the caller's.
        outcomes: one per pending outcome; on PostgreSQL one statement records them all.
        run_ids: runs of which the answer says whether they are still open.
        asked: by outcome id, what was pending when the work began. An outcome that means other work now stays as it is.
            None where the caller found the outcomes pending in this same transaction.
    """
    if connection.dialect.name == "postgresql":
        rows = [_row(outcome) for outcome in outcomes]
        if asked is not None:
            rows = [row | _identity(asked[row["key"]]) for row in rows]
        count, open_runs = outcomes_postgresql.record_outcomes(connection, rows, run_ids, compare=asked is not None)
        return Recorded(count=count, open_runs=open_runs)
    ids = [outcome.outcome_id for outcome in outcomes]
    pending = {scan.outcome_id: scan for scan in _pending(connection, Outcome.id.in_(ids))}
    won = pending if asked is None else {key: scan for key, scan in pending.items() if scan == asked[key]}
    mine = [outcome for outcome in outcomes if outcome.outcome_id in won]
    _write(connection, [_scored_values(outcome) for outcome in mine if isinstance(outcome, Scored)])
    _write(connection, [_rejected_values(outcome) for outcome in mine if isinstance(outcome, Rejected)])
    rows = [_score_row(outcome) for outcome in mine if isinstance(outcome, Scored)]
    if rows:
        connection.execute(insert(Scores), rows)
    return Recorded(count=len(mine), open_runs=still_open_runs(connection, run_ids))


def reject_store(connection: Connection, model_sha256: str, store: str, detail: str) -> int:
    """Reject as `s3` every pending scan of a model that lies in one store: a thousand requests would fail alike.

    Scans that only stopped runs wait for stay pending.

    Args:
        connection: its transaction is the caller's.
        model_sha256: the model.
        store: the beginning of their locations, `s3://bucket/`.
        detail: the sentence that is recorded.

    Returns:
        How many were rejected; outcomes that others recorded meanwhile stay.
    """
    waiting = (
        select(Outcome.id)
        .join(Model, Model.id == Outcome.model_id)
        .where(Model.sha256 == model_sha256, Outcome.state == PENDING, is_wanted())
        .where(Outcome.location.startswith(store, autoescape=True))
        # Locked in the order of ids, as `record_outcomes` does.
        .order_by(Outcome.id)
        .with_for_update(key_share=True, of=Outcome)
    )
    rejection = {"state": REJECTED, "reason": "s3", "detail": detail, "scored_at": datetime.now(UTC)}
    decided = connection.execute(update(Outcome).where(Outcome.id.in_(waiting)).values(rejection))
    return decided.rowcount


def count_attempt(connection: Connection, scan: PendingScan) -> bool:
    """Count an attempt in which a worker died while this scan was alone; at the cap, quarantine the scan.

    Returns:
        Whether the scan may still be tried.
    """
    mine = _is_still(scan)
    connection.execute(update(Outcome).where(mine).values(attempts=Outcome.attempts + 1))
    worn_out = mine & (Outcome.attempts >= ATTEMPTS_CAP)
    detail = f"its worker died or failed {ATTEMPTS_CAP} times while it was alone"
    decided = connection.execute(
        update(Outcome)
        .where(worn_out)
        .values(state=QUARANTINED, reason=KILLED_WORKER, detail=detail, scored_at=datetime.now(UTC))
    )
    return decided.rowcount == 0


def forgive_attempt(connection: Connection, scan: PendingScan) -> None:
    """Take an attempt back: the worker lived, so the scan is not to blame."""
    mine = _is_still(scan) & (Outcome.attempts > 0)
    connection.execute(update(Outcome).where(mine).values(attempts=Outcome.attempts - 1))


def _pending(connection: Connection, condition: Any, limit: int | None = None) -> list[PendingScan]:
    rows = connection.execute(
        select(Outcome.id, Outcome.scan_id, Model.sha256, Outcome.revision, _location(), Outcome.seen_as)
        .join(Scan, Scan.id == Outcome.scan_id)
        .join(Model, Model.id == Outcome.model_id)
        .where(Outcome.state == PENDING, condition)
        .order_by(Outcome.id)
        .limit(limit)
    )
    # One string for all scans of a model: there may be millions.
    return [
        PendingScan(
            outcome_id=key,
            scan_id=scan_id,
            model_sha256=intern(sha256),
            revision=revision,
            location=location,
            version=_version_of(seen_as),
        )
        for key, scan_id, sha256, revision, location, seen_as in rows
    ]


def _location() -> ColumnElement[Any]:
    """Where the image of an outcome lies. One that an older program opened does not say it; its scan does."""
    return func.coalesce(Outcome.location, Scan.location)


def _version_of(seen_as: str | None) -> str | None:
    return FoundImage.from_seen_as(seen_as).version if seen_as else None


def _is_still(scan: PendingScan) -> ColumnElement[bool]:
    """Whether an outcome is pending and means the work that it meant when it was asked for."""
    same = (Outcome.id == scan.outcome_id) & (Outcome.state == PENDING)
    same &= (Outcome.scan_id == scan.scan_id) & (Outcome.revision == scan.revision)
    same &= exists().where(Model.id == Outcome.model_id, Model.sha256 == scan.model_sha256)
    return same & exists().where(Scan.id == Outcome.scan_id, _location() == scan.location)


def _identity(scan: PendingScan) -> dict[str, Any]:
    return {name: getattr(scan, name) for name in outcomes_postgresql.IDENTITY}


def _write(connection: Connection, values: list[dict[str, Any]]) -> None:
    if values:
        names = [name for name in values[0] if name != "key"]
        # The table, not the entity: the ORM's bulk update by key allows no other WHERE.
        table = Outcome.__table__
        statement = update(Outcome).where(table.c.id == bindparam("key")).values({n: bindparam(n) for n in names})
        connection.execute(statement, values)


def _scored_values(outcome: Scored) -> dict[str, Any]:
    return {
        "key": outcome.outcome_id,
        "state": SCORED,
        "content": outcome.content,
        "runtime": outcome.runtime,
        "precision": outcome.precision,
        "export_sha256": outcome.export_sha256,
        "notes": ",".join(outcome.notes) or None,
        "scored_at": datetime.now(UTC),
    }


def _rejected_values(outcome: Rejected) -> dict[str, Any]:
    return {
        "key": outcome.outcome_id,
        "state": REJECTED,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "content": outcome.content,
        "scored_at": datetime.now(UTC),
    }


def _row(outcome: Scored | Rejected) -> dict[str, Any]:
    """Every value that is written for an outcome."""
    return _scored_values(outcome) | _score_row(outcome) if isinstance(outcome, Scored) else _rejected_values(outcome)


def _score_row(outcome: Scored) -> dict[str, Any]:
    scores = {column_of(finding): score for finding, score in outcome.scores.items()}
    return {"outcome_id": outcome.outcome_id, **scores}
