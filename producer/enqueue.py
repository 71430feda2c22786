"""`producer enqueue`: a labels CSV becomes scans, a label set and a run in SQL; only then are chunks sent."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine

from db.aggregate import finish_runs
from db.errors import TemporaryError, UserError
from db.labels_csv import LabelsFile, read_labels_csv
from db.models import ModelInfo, find_model
from db.opening import RunRequest, lock_for_enqueue, open_run
from db.outcomes import pending_of_run
from db.runs import Progress, progress
from db.scans import import_labels, register_scans
from db.session import reading
from producer.changed import changed_images
from worker.app import make_app, nothing_in_flight, send_pending
from worker.images import find_images
from worker.registry import register_artifacts
from worker.settings import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a person asks to have scored."""

    csv: Path
    #: Folder or s3://bucket/prefix; None looks beside the CSV.
    images: str | None = None
    #: Name or hash; None is the active model.
    model: str | None = None
    #: Only the first rows.
    limit: int | None = None
    #: Score again what has scores already.
    rescore: bool = False


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """What came of it.

    Attributes:
        joined: the run was open already.
        sent: scans that went to the queue now; None where no broker answered and they wait for `worker start`.
    """

    run_id: int
    model: ModelInfo
    joined: bool
    progress: Progress
    sent: int | None


@dataclass(frozen=True, kw_only=True)
class _Input:
    file: LabelsFile
    locations: dict[str, str]
    source: Source


def enqueue(settings: WorkerSettings, engine: Engine, source: Source) -> Enqueued:
    """Commit the work, then send it.

    Raises:
        UserError: no labels file, no image at all, no model; then nothing was written.
    """
    checked = _check(source)
    register_artifacts(engine, settings.model_dir)
    changed = changed_images(engine, checked.file.dataset, source.model, checked.locations)
    with engine.begin() as connection:
        lock_for_enqueue(connection)
        model = find_model(connection, source.model)
        run_id, joined = _commit(connection, checked, model, changed)
    # A run in which nothing is due is finished as it opens.
    finish_runs(engine)
    sent = _send(settings, engine, run_id, model, joined=joined)
    with reading(engine) as connection:
        return Enqueued(run_id=run_id, model=model, joined=joined, progress=progress(connection, run_id), sent=sent)


def resume(settings: WorkerSettings, engine: Engine, run_id: int, model_sha256: str) -> int:
    """Send everything of a run that still waits, whatever the queue holds.

    Returns:
        How many scans were sent.

    Raises:
        TemporaryError: the broker does not answer.
    """
    with reading(engine) as connection:
        pending = pending_of_run(connection, run_id)
    return send_pending(make_app(settings), model_sha256, pending, settings.chunk_size)


def _check(source: Source) -> _Input:
    file = read_labels_csv(source.csv)
    found = find_images(source.csv, source.images)
    rows = file.rows[: source.limit]
    if not any(row.image_name in found for row in rows):
        where = source.images or f"the CSV's folder, its images/, images_*/images/ or sample/images/ ({source.csv})"
        raise UserError(f"none of the {len(rows)} images of {source.csv.name} is in {where}; say --images")
    limited = LabelsFile(path=file.path, sha256=file.sha256, dataset=file.dataset, rows=rows)
    return _Input(file=limited, locations=found, source=source)


def _commit(connection: Connection, checked: _Input, model: ModelInfo, changed: frozenset[str]) -> tuple[int, bool]:
    file, source = checked.file, checked.source
    ids = register_scans(connection, file.dataset, file.rows, checked.locations)
    label_set = import_labels(connection, file, file.rows, ids)
    request = RunRequest(
        source=str(source.csv),
        sha256=file.sha256,
        dataset=file.dataset,
        model_id=model.id,
        label_set_id=label_set,
        options={"images": source.images, "limit": source.limit, "rescore": source.rescore},
    )
    again = ids.values() if source.rescore else (ids[name] for name in changed if name in ids)
    return open_run(connection, request, list(ids.values()), again=frozenset(again))


def _send(settings: WorkerSettings, engine: Engine, run_id: int, model: ModelInfo, *, joined: bool) -> int | None:
    with reading(engine) as connection:
        pending = pending_of_run(connection, run_id)
    if not pending:
        return 0
    app = make_app(settings)
    try:
        # A joined run was sent by whoever opened it, unless that producer died in between.
        if joined and not nothing_in_flight(app, model.sha256):
            return 0
        return send_pending(app, model.sha256, pending, settings.chunk_size)
    except TemporaryError:
        return None
