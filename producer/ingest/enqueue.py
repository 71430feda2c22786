"""`producer enqueue`: a source becomes scans, a label set and a run in SQL; only then are chunks sent."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.errors import TemporaryError
from db.labels.label_sets import import_labels
from db.ledger.models import ModelInfo, find_model
from db.ledger.nightly_runs import assign_night, run_of_night
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import note_seen, pending_of_run
from db.ledger.runs import Progress, find_run, progress, rate_of
from db.ledger.scans import register_scans
from db.ledger.stop_run import resume_run
from producer.ingest.changed_images import Looked, look_for_changes
from producer.ingest.source import Input, Source, read_source
from worker.artifacts.model_store import open_model_store
from worker.artifacts.registration import register_artifacts
from worker.messaging.celery_app import make_app, nothing_in_flight
from worker.messaging.chunk_size import chunk_size, send_pending
from worker.settings import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """What came of it.

    Attributes:
        joined: the run was open already.
        resumed: it had been stopped, and goes on.
        sent: scans that went to the queue now; None where no broker answered and they wait for `worker start`.
        left_out: files of a folder without a CSV that are not named like an image.
    """

    run_id: int
    model: ModelInfo
    joined: bool
    resumed: bool
    progress: Progress
    sent: int | None
    left_out: int


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What `producer enqueue` would do.

    Attributes:
        rows: scans of the source.
        images: of these, whose images were found.
        decided: of these, with an outcome already that stands.
        due: scans that would be scored.
        chunks: messages that would be sent.
        seconds: how long the model took for as many scans in its latest run; None where it has scored nothing yet.
    """

    model: ModelInfo
    rows: int
    images: int
    decided: int
    due: int
    chunks: int
    seconds: float | None
    left_out: int


def enqueue(settings: WorkerSettings, engine: Engine, source: Source, *, night: str | None = None) -> Enqueued:
    """Commit the work, then send it.

    Args:
        settings: where broker and models are.
        engine: the ledger.
        source: what is to be scored.
        night: which night it is done for, see `db.ledger.nightly_runs`; a night that has its run already gets no other.

    Raises:
        UserError: no labels file, no image at all, no model; then nothing was written.
    """
    opened = _open(settings, engine, source, night)
    # A run in which nothing is due is finished as it opens.
    close_finished_runs(engine)
    sent = _send(settings, engine, opened)
    with read_transaction(engine) as connection:
        now = progress(connection, opened.run_id)
    return Enqueued(
        run_id=opened.run_id,
        model=opened.model,
        joined=opened.joined,
        resumed=opened.resumed,
        progress=now,
        sent=sent,
        left_out=opened.left_out,
    )


def rehearse(settings: WorkerSettings, engine: Engine, source: Source) -> Rehearsal:
    """Do what `enqueue` does in a transaction that is then rolled back: the counts are exact.

    New models are registered all the same.

    Raises:
        UserError: as `enqueue`.
    """
    given, looked = _prepare(settings, engine, source)
    with engine.connect() as connection, connection.begin() as transaction:
        opened = _commit(connection, source, given, looked, None)
        now, rate = progress(connection, opened.run_id), rate_of(connection, opened.model.id)
        transaction.rollback()
    return Rehearsal(
        model=opened.model,
        rows=now.expected,
        images=len(given.found),
        decided=now.expected - now.pending if opened.joined else now.reused,
        due=now.pending,
        chunks=-(-now.pending // chunk_size(settings, make_app(settings), opened.model.sha256, now.pending)),
        seconds=now.pending / rate if rate else None,
        left_out=given.left_out,
    )


def resume(settings: WorkerSettings, engine: Engine, run_id: int, model_sha256: str) -> int:
    """Send everything of a run that still waits, whatever the queue holds; one that was stopped goes on.

    What it rejected for a reason that may have passed waits again then.

    Returns:
        How many scans were sent.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with engine.begin() as connection:
        resume_run(connection, run_id)
    close_finished_runs(engine)
    with read_transaction(engine) as connection:
        pending = pending_of_run(connection, run_id)
    return send_pending(make_app(settings), settings, model_sha256, pending)


def _open(settings: WorkerSettings, engine: Engine, source: Source, night: str | None) -> "_Opened":
    """By itself, so that a source of a million rows is gone from memory when its chunks are sent."""
    given, looked = _prepare(settings, engine, source)
    with engine.begin() as connection:
        return _commit(connection, source, given, looked, night)


def _prepare(settings: WorkerSettings, engine: Engine, source: Source) -> tuple[Input, Looked]:
    """The source as read, and which of its scans were decided from other bytes than lie there now."""
    given = read_source(source)
    register_artifacts(engine, open_model_store(settings.model_dir, settings.home))
    return given, look_for_changes(engine, given.dataset, source.model, given.found)


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """What was committed."""

    run_id: int
    model: ModelInfo
    joined: bool
    resumed: bool = False
    left_out: int = 0


def _commit(connection: Connection, source: Source, given: Input, looked: Looked, night: str | None) -> _Opened:
    lock_for_enqueue(connection)
    taken = run_of_night(connection, night) if night is not None else None
    if taken is not None:
        # Stopped or not: it is the next night that makes it go on.
        model = find_model(connection, find_run(connection, taken).model_sha256)
        return _Opened(run_id=taken, model=model, joined=True, left_out=given.left_out)
    model = find_model(connection, source.model)
    ids = register_scans(connection, given.dataset, given.rows, given.found)
    request = RunRequest(
        source=source.shown,
        sha256=given.sha256,
        dataset=given.dataset,
        model_id=model.id,
        label_set_id=import_labels(connection, given.labels, given.rows, ids) if given.labels else None,
        options={"images": source.images, "limit": source.limit, "rescore": source.rescore},
    )
    note_seen(connection, looked.same)
    run_id, joined = open_run(
        connection,
        request,
        list(ids.values()),
        images={ids[name]: image for name, image in given.found.items() if name in ids},
        changed=frozenset(ids[name] for name in looked.changed if name in ids),
        rescore=source.rescore,
    )
    if night is not None:
        assign_night(connection, run_id, night)
    resumed = joined and resume_run(connection, run_id)
    return _Opened(run_id=run_id, model=model, joined=joined, resumed=resumed, left_out=given.left_out)


def _send(settings: WorkerSettings, engine: Engine, opened: _Opened) -> int | None:
    with read_transaction(engine) as connection:
        pending = pending_of_run(connection, opened.run_id)
    if not pending:
        return 0
    app = make_app(settings)
    try:
        # A joined run was sent by whoever opened it, unless that producer died in between.
        if opened.joined and not opened.resumed and not nothing_in_flight(app, opened.model.sha256):
            return 0
        return send_pending(app, settings, opened.model.sha256, pending)
    except TemporaryError:
        return None
