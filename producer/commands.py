"""What each command does and prints: results on stdout, everything else on stderr."""

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import Engine

from db.errors import EXIT_REJECTS, TemporaryError, UserError
from db.models import activate, list_models
from db.runs import Progress, RunInfo, failures_of, find_run, progress
from db.session import open_database, reading
from db.settings import load_settings
from producer.enqueue import Enqueued, Source, enqueue, resume
from producer.follow import follow
from producer.local import local_worker
from worker.registry import register_artifacts
from worker.settings import WorkerSettings

_out = Console()
_err = Console(stderr=True)


def enqueue_command(source: Source, *, wait: bool) -> None:
    """`producer enqueue`."""
    settings, engine = _open()
    enqueued = enqueue(settings, engine, source)
    _say_enqueued(enqueued)
    _say_sent(enqueued)
    if wait:
        _exit_by(follow(engine, enqueued.run_id, _err, alive=lambda: None))


def run_locally(source: Source, out: Path | None) -> None:
    """`producer run`."""
    settings, engine = _open()
    enqueued = enqueue(settings, engine, source)
    _say_enqueued(enqueued)
    with ExitStack() as stack:
        if enqueued.progress.pending:
            worker = stack.enter_context(local_worker(settings, enqueued.model.sha256))
            log = settings.home / "worker.log"
            _err.print(f"a worker is loading the model; its log is {log}", soft_wrap=True, highlight=False)
            follow(engine, enqueued.run_id, _err, alive=worker.check)
    _report(settings, engine, enqueued.run_id, out)
    _out.print(f"database: {engine.url.database}", soft_wrap=True, highlight=False)
    with reading(engine) as connection:
        _exit_by(progress(connection, enqueued.run_id))


def show_status(run_id: int | None, *, watch: bool, as_json: bool) -> None:
    """`producer status`."""
    _, engine = _open()
    run, now = _find(engine, run_id)
    if watch and run.finished_at is None:
        now = follow(engine, run.id, _err, alive=lambda: None)
        run, _ = _find(engine, run.id)
    if as_json:
        _print_json({**asdict(run), **asdict(now)})
        return
    state = f"finished {run.finished_at:%Y-%m-%d %H:%M} UTC" if run.finished_at else "open"
    _out.print(f"run {run.id}: {run.source} under model {run.model} ({run.model_sha256[:12]}), {state}", soft_wrap=True)
    _out.print(_counts(now))


def resume_run(run_id: int | None) -> None:
    """`producer resume`."""
    settings, engine = _open()
    run, _ = _find(engine, run_id)
    try:
        sent = resume(settings, engine, run.id, run.model_sha256)
    except TemporaryError as error:
        raise UserError(f"run {run.id} cannot be sent: {error}; 'worker start' sends it by itself") from error
    _out.print(f"run {run.id}: {sent} scans sent again")


def show_failures(run_id: int | None, *, as_json: bool) -> None:
    """`producer failures`."""
    _, engine = _open()
    run, _ = _find(engine, run_id)
    with reading(engine) as connection:
        failures = failures_of(connection, run.id)
    if as_json:
        _print_json([asdict(failure) for failure in failures])
        return
    table = Table(
        Column("image", overflow="fold"),
        "state",
        "reason",
        "what happened",
        title=f"run {run.id}: {len(failures)} not scored",
    )
    for failure in failures:
        table.add_row(failure.image_name, failure.state, failure.reason, failure.detail)
    _out.print(table)


def make_report(run_id: int | None, out: Path | None, *, subset: str, partial: bool, as_json: bool) -> None:
    """`producer report`."""
    settings, engine = _open()
    run, _ = _find(engine, run_id)
    _report(settings, engine, run.id, out, subset=subset, partial=partial, as_json=as_json)


def show_models(*, as_json: bool) -> None:
    """`producer model list`."""
    settings, engine = _open()
    register_artifacts(engine, settings.model_dir)
    with reading(engine) as connection:
        models = list_models(connection)
    if as_json:
        _print_json([asdict(model) for model in models])
        return
    table = Table("name", "hash", "active", "findings")
    for model in models:
        table.add_row(model.name, model.sha256[:12], "yes" if model.active else "", str(len(model.findings)))
    _out.print(table)


def activate_model(name: str) -> None:
    """`producer model activate`."""
    settings, engine = _open()
    register_artifacts(engine, settings.model_dir)
    with engine.begin() as connection:
        model = activate(connection, name)
    _out.print(f"the next runs are scored by {model.name} ({model.sha256[:12]})")


def _open() -> tuple[WorkerSettings, Engine]:
    settings = load_settings(WorkerSettings)
    _err.print(f"home: {settings.home}", soft_wrap=True, highlight=False)
    return settings, open_database(settings.database_url)


def _find(engine: Engine, run_id: int | None) -> tuple[RunInfo, Progress]:
    with reading(engine) as connection:
        run = find_run(connection, run_id)
        return run, progress(connection, run.id)


def _report(
    settings: WorkerSettings,
    engine: Engine,
    run_id: int,
    out: Path | None,
    *,
    subset: str = "held_out",
    partial: bool = False,
    as_json: bool = False,
) -> None:
    # Plots cost a second of imports, which the other commands need not pay.
    from producer.report.table import print_report, to_json
    from producer.report.write import write_report

    folder = out or settings.home / "reports" / f"run-{run_id}"
    with engine.begin() as connection:
        report = write_report(connection, run_id, folder, partial=partial, subset=subset)
    if as_json:
        print(to_json(report))
        return
    print_report(report, _out)
    _out.print(f"report: {folder / 'index.html'}", soft_wrap=True, highlight=False)


def _say_enqueued(enqueued: Enqueued) -> None:
    now = enqueued.progress
    verb = "joined" if enqueued.joined else "opened"
    _out.print(f"run {enqueued.run_id} {verb}, model {enqueued.model.name} ({enqueued.model.sha256[:12]})")
    _out.print(_counts(now))
    if not now.pending:
        _out.print("nothing to score: every scan has its outcome already")


def _say_sent(enqueued: Enqueued) -> None:
    now = enqueued.progress
    if enqueued.sent is None:
        _out.print(f"{now.pending} scans wait for 'worker start', which sends them")
    elif now.pending:
        _out.print(f"{enqueued.sent} scans sent")


def _counts(now: Progress) -> str:
    return (
        f"{now.expected} scans: {now.scored} scored, {now.rejected} rejected, {now.quarantined} quarantined, "
        f"{now.pending} pending ({now.reused} reused)"
    )


def _exit_by(now: Progress) -> None:
    if now.rejected or now.quarantined:
        sys.exit(EXIT_REJECTS)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))
