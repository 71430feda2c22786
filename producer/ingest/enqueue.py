"""`producer enqueue`: writes a source's scans, label set and run to SQL, and only then sends chunks."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from sqlalchemy import Connection, Engine

from db.close_run import close_finished_runs
from db.engine.session import read_transaction
from db.errors import TemporaryError, UserError
from db.labels.label_sets import import_labels
from db.ledger.ledger_id import ledger_id
from db.ledger.models import ModelInfo, check_not_removed, find_model
from db.ledger.nightly_runs import assign_night, run_of_night
from db.ledger.open_run import RunRequest, lock_for_enqueue, open_run
from db.ledger.outcomes import note_seen, pending_of_run
from db.ledger.runs import Progress, find_run, note_left_out, progress, rate_of
from db.ledger.scans import Conflict, find_conflicts, known_instances, register_scans, scans_of_patients
from db.ledger.stop_run import resume_run
from db.metrics.known_patients import KnownPatients, read_known_patients
from producer.ingest.changed_images import ImageChanges, find_image_changes
from producer.ingest.conflicts import Contradiction, describe_conflicts, describe_contradictions
from producer.ingest.source import Source, SourceContents, read_source, unlabelled_row
from worker.artifacts.model_store import open_model_store
from worker.artifacts.registration import register_artifacts
from worker.artifacts.store_contents import UnusableFolder
from worker.messaging.broker_errors import BrokerRefused
from worker.messaging.celery_app import make_app, nothing_in_flight
from worker.messaging.chunk_size import chunk_size, send_pending
from worker.settings import WorkerSettings

#: Tells a person of the model folders that cannot be used.
Report: TypeAlias = Callable[[list[UnusableFolder]], None]


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """The run that an enqueue opened or joined.

    Attributes:
        joined: the run was open before.
        resumed: the run was stopped before, and goes on now.
        patients: how many of its scans, and of the scans of its model's fit, have a patient id.
        sent: scans that were sent to the queue; None if no broker answered, so that they wait for `worker start`.
        missing: how many scans of the source have no image.
        left_out, ignored: see `SourceContents`.
    """

    run_id: int
    model: ModelInfo
    joined: bool
    resumed: bool
    progress: Progress
    patients: KnownPatients
    sent: int | None
    missing: int
    left_out: Mapping[str, int] | None
    ignored: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class EnqueuePlan:
    """What an enqueue would do.

    Attributes:
        scans: scans of the source.
        images: of these, those whose image was found.
        missing: the others.
        decided: of these, those that have an outcome and keep it.
        due: scans that would be scored.
        patients: see `Enqueued`.
        chunks: messages that would be sent.
        seconds: expected time at the rate of the model's latest run that was long enough to measure; None without one.
        left_out, ignored: see `SourceContents`.
    """

    model: ModelInfo
    scans: int
    images: int
    missing: int
    decided: int
    due: int
    patients: KnownPatients
    chunks: int
    seconds: float | None
    left_out: Mapping[str, int] | None
    ignored: Mapping[str, int]


def enqueue(
    settings: WorkerSettings, engine: Engine, source: Source, report_unusable: Report, *, night: str | None = None
) -> Enqueued:
    """Commit the work, then send it.

    Args:
        settings: where the broker and the models are.
        engine: the ledger.
        source: what to score.
        report_unusable: is given the model folders that cannot be used; the other models are used all the same.
        night: the night that the run belongs to, see `db.ledger.nightly_runs`. If that night already has a run, it is
            joined, and no other is opened. Rows that take a known scan for another one are then rejected as `conflict`.

    Raises:
        UserError: the CSV is not a labels file, no image was found, there is no such model, or, without a night, a row
            takes a known scan for another one: nothing was written. Or the broker refuses this program: the run is
            committed, and workers send its scans.
    """
    opened = _read_and_commit(settings, engine, source, report_unusable, night)
    # A run without due scans is finished at once.
    close_finished_runs(engine)
    sent = _send(settings, engine, opened)
    with read_transaction(engine) as connection:
        counts, patients = progress(connection, opened.run_id), read_known_patients(connection, opened.run_id)
    return Enqueued(
        run_id=opened.run_id,
        model=opened.model,
        joined=opened.joined,
        resumed=opened.resumed,
        progress=counts,
        patients=patients,
        sent=sent,
        missing=opened.missing,
        left_out=opened.left_out,
        ignored=opened.ignored,
    )


def plan_enqueue(settings: WorkerSettings, engine: Engine, source: Source, report_unusable: Report) -> EnqueuePlan:
    """Do what `enqueue` does in a transaction that is then rolled back, so that the counts are exact.

    New models are registered all the same.

    Raises:
        UserError: see `enqueue`.
    """
    contents, changes = _read(settings, engine, source, report_unusable)
    with engine.connect() as connection, connection.begin() as transaction:
        opened = _commit(connection, source, contents, changes, night=None, admitted=settings.admitted)
        counts, rate = progress(connection, opened.run_id), rate_of(connection, opened.model.id)
        patients = read_known_patients(connection, opened.run_id)
        transaction.rollback()
    scans_per_chunk = chunk_size(settings, make_app(settings, ledger_id(engine)), opened.model.sha256, counts.pending)
    return EnqueuePlan(
        model=opened.model,
        scans=counts.expected,
        images=len(contents.found),
        missing=contents.missing,
        decided=counts.expected - counts.pending if opened.joined else counts.reused,
        due=counts.pending,
        patients=patients,
        chunks=-(-counts.pending // scans_per_chunk),
        seconds=counts.pending / rate if rate else None,
        left_out=contents.left_out,
        ignored=contents.ignored,
    )


def resume(settings: WorkerSettings, engine: Engine, run_id: int, model_sha256: str) -> int:
    """Send all pending scans of a run, whatever the queue already holds. A stopped run goes on.

    In a stopped run, scans that were rejected for a passing reason are due again.

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
    return send_pending(make_app(settings, ledger_id(engine)), settings, model_sha256, pending)


@dataclass(frozen=True, kw_only=True)
class _OpenedRun:
    run_id: int
    model: ModelInfo
    joined: bool
    resumed: bool
    missing: int
    left_out: Mapping[str, int] | None
    ignored: Mapping[str, int]


def _read_and_commit(
    settings: WorkerSettings, engine: Engine, source: Source, report_unusable: Report, night: str | None
) -> _OpenedRun:
    # A function of its own: a source of a million rows leaves memory when it returns, before chunks are sent.
    contents, changes = _read(settings, engine, source, report_unusable)
    with engine.begin() as connection:
        return _commit(connection, source, contents, changes, night=night, admitted=settings.admitted)


def _read(
    settings: WorkerSettings, engine: Engine, source: Source, report_unusable: Report
) -> tuple[SourceContents, ImageChanges]:
    contents = read_source(source, partial(_known_instances, engine, source))
    registration = register_artifacts(engine, open_model_store(settings.model_dir, settings.home))
    report_unusable(registration.unusable)
    with read_transaction(engine) as connection:
        # Fails here if the wanted model's own folder cannot be used.
        registration.find_model(connection, source.model)
    changes = find_image_changes(engine, contents.dataset, source.model, contents.found, trust_moved=source.moved)
    return contents, changes


def _known_instances(engine: Engine, source: Source, dataset: str) -> Mapping[str, str]:
    # Headers are read again where more of them is wanted than the ledger may have.
    if source.correct_patients:
        return {}
    with read_transaction(engine) as connection:
        return known_instances(connection, dataset, with_study_date=source.study_dates)


def _commit(
    connection: Connection,
    source: Source,
    contents: SourceContents,
    changes: ImageChanges,
    *,
    night: str | None,
    admitted: AbstractSet[str],
) -> _OpenedRun:
    lock_for_enqueue(connection)
    taken = run_of_night(connection, night) if night is not None else None
    if taken is not None:
        # If that run is stopped it stays so: the next night resumes it.
        model = find_model(connection, find_run(connection, taken).model_sha256)
        joined, resumed, run_id = True, False, taken
    else:
        model = find_model(connection, source.model)
        # It may have been removed since it was looked up.
        check_not_removed(model)
        may_ask = night is None
        contradictions = _find_contradictions(connection, source, contents, may_ask=may_ask)
        conflicts = _find_conflicts(connection, source, contents, changes, may_ask=may_ask)
        run_id, joined = _register_and_open(
            *(connection, source, contents, changes, model),
            conflicts=conflicts,
            contradictions=contradictions,
            admitted=admitted,
        )
        if night is not None:
            assign_night(connection, run_id, night)
        note_left_out(connection, run_id, contents.left_out)
        resumed = joined and resume_run(connection, run_id)
    return _OpenedRun(
        run_id=run_id,
        model=model,
        joined=joined,
        resumed=resumed,
        missing=contents.missing,
        left_out=contents.left_out,
        ignored=contents.ignored,
    )


def _find_contradictions(
    connection: Connection, source: Source, contents: SourceContents, *, may_ask: bool
) -> Mapping[str, Contradiction]:
    """What the source says in two ways, by image name. Patients are settled if the ledger has the CSV's.

    Raises:
        UserError: there are some, and a person can be asked.
    """
    found = contents.contradictions
    people = {name: one.patients[1] for name, one in found.items() if one.patients}
    settled = set(people) if source.correct_patients else scans_of_patients(connection, contents.dataset, people)
    found = {name: one for name, one in found.items() if name not in settled}
    if found and may_ask:
        raise UserError(describe_contradictions(found, source.display_name))
    return found


def _find_conflicts(
    connection: Connection, source: Source, contents: SourceContents, changes: ImageChanges, *, may_ask: bool
) -> dict[str, Conflict]:
    """The rows that take a known scan for another one, by image name.

    Raises:
        UserError: there are some, and a person can be asked.
    """
    conflicts = find_conflicts(
        connection,
        contents.dataset,
        contents.rows,
        contents.found,
        moved=changes.moved,
        correct_patients=source.correct_patients,
    )
    if conflicts and may_ask:
        raise UserError(describe_conflicts(conflicts, source.display_name, contents.dataset))
    return conflicts


def _register_and_open(
    connection: Connection,
    source: Source,
    contents: SourceContents,
    changes: ImageChanges,
    model: ModelInfo,
    *,
    conflicts: Mapping[str, Conflict],
    contradictions: Mapping[str, Contradiction],
    admitted: AbstractSet[str],
) -> tuple[int, bool]:
    """Register the scans and their labels, and open or join the run; gives its id and whether it was joined."""
    rows = [row for row in contents.rows if row.image_name not in conflicts and row.image_name not in contradictions]
    ids = register_scans(connection, contents.dataset, rows, contents.found)
    # Only their names are certain.
    doubtful = register_scans(connection, contents.dataset, [unlabelled_row(name) for name in contradictions], {})
    rejected = {conflict.scan_id: conflict.sentence for conflict in conflicts.values()}
    rejected |= {doubtful[name]: contradiction.sentence for name, contradiction in contradictions.items()}
    request = _run_request(connection, source, contents, model, ids)
    note_seen(connection, changes.unchanged)
    return open_run(
        connection,
        request,
        list(ids.values()),
        images={ids[name]: image for name, image in contents.found.items() if name in ids},
        changed=frozenset(ids[name] for name in changes.changed if name in ids),
        conflicts=rejected,
        rescore=source.rescore,
        admitted=admitted,
    )


def _run_request(
    connection: Connection, source: Source, contents: SourceContents, model: ModelInfo, ids: Mapping[str, int]
) -> RunRequest:
    labels, name = contents.labels, contents.dataset
    return RunRequest(
        source=source.display_name,
        sha256=contents.sha256,
        dataset=contents.dataset,
        model_id=model.id,
        label_set_id=import_labels(connection, labels, contents.rows, ids, name) if labels else None,
        options={"images": source.images, "limit": source.limit, "rescore": source.rescore},
    )


def _send(settings: WorkerSettings, engine: Engine, opened: _OpenedRun) -> int | None:
    with read_transaction(engine) as connection:
        pending = pending_of_run(connection, opened.run_id)
    if not pending:
        return 0
    app = make_app(settings, ledger_id(engine))
    try:
        # The producer that opened a joined run has sent its scans, unless it died in between.
        if opened.joined and not opened.resumed and not nothing_in_flight(app, opened.model.sha256):
            return 0
        return send_pending(app, settings, opened.model.sha256, pending)
    except BrokerRefused as error:
        raise UserError(
            f"{error}; run {opened.run_id} and its {len(pending):,} pending scans are saved: correct the address or "
            "the broker's rules, then 'worker start' sends them"
        ) from error
    except TemporaryError:
        return None
