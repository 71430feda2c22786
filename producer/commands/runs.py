"""Commands that make or change a run: enqueue, run, resume, cancel."""

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from db.close_run import close_finished_runs
from db.engine.session import address_of, read_transaction
from db.errors import TemporaryError, UserError
from db.ledger.cancel_run import cancel_run
from db.ledger.runs import progress
from producer.commands.common import counts, err, exit_by, find, open_ledger, print_json, say
from producer.commands.inspect_run import report_on
from producer.ingest.enqueue import Enqueued, Rehearsal, enqueue, rehearse, resume
from producer.ingest.source import Source
from producer.local_worker import local_worker
from producer.monitoring.progress import follow
from worker.settings import WorkerSettings

_DURATIONS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def enqueue_command(source: Source, *, wait: bool, dry_run: bool, as_json: bool) -> None:
    """`producer enqueue`."""
    settings, engine = open_ledger()
    if dry_run:
        _say_rehearsal(rehearse(settings, engine, source), as_json=as_json)
        return
    enqueued = enqueue(settings, engine, source)
    if not as_json:
        _say_enqueued(enqueued)
        _say_sent(enqueued)
    now = follow(engine, enqueued.run_id, err, alive=lambda: None) if wait else enqueued.progress
    if as_json:
        print_json(_flat(enqueued) | asdict(now))
    if wait:
        exit_by(now)


def run_locally(source: Source, out: Path | None, *, as_json: bool) -> None:
    """`producer run`."""
    settings, engine = open_ledger()
    enqueued = enqueue(settings, engine, source)
    if not as_json:
        _say_enqueued(enqueued)
    if enqueued.progress.pending:
        _score_here(settings, engine, enqueued)
    report_on(settings, engine, enqueued.run_id, out, as_json=as_json)
    if not as_json:
        say(f"database: {address_of(engine)}")
    with read_transaction(engine) as connection:
        exit_by(progress(connection, enqueued.run_id))


def resume_command(run_id: int | None, *, as_json: bool) -> None:
    """`producer resume`."""
    settings, engine = open_ledger()
    run, _ = find(engine, run_id)
    try:
        sent = resume(settings, engine, run.id, run.model_sha256)
    except TemporaryError as error:
        raise UserError(f"run {run.id} cannot be sent: {error}; 'worker start' sends it by itself") from error
    if as_json:
        print_json({"run_id": run.id, "sent": sent})
    else:
        say(f"run {run.id}: {sent:,} scans sent again")


def cancel_command(run_id: int | None, *, as_json: bool) -> None:
    """`producer cancel`."""
    _, engine = open_ledger()
    run, _ = find(engine, run_id)
    cancelled = cancel_run(engine, run.id)
    close_finished_runs(engine)
    if as_json:
        print_json({"run_id": run.id, "cancelled": cancelled})
    else:
        say(f"run {run.id} cancelled: {cancelled:,} scans will not be scored; the next enqueue takes them up")


def _score_here(settings: WorkerSettings, engine: Engine, enqueued: Enqueued) -> None:
    with ExitStack() as stack:
        worker = stack.enter_context(local_worker(settings, enqueued.model.sha256))
        err.print(f"a worker is loading the model; its log is {settings.home / 'worker.log'}", markup=False)
        follow(engine, enqueued.run_id, err, alive=worker.check)


def _say_enqueued(enqueued: Enqueued) -> None:
    now = enqueued.progress
    verb = "had been stopped and goes on" if enqueued.resumed else "joined" if enqueued.joined else "opened"
    say(f"run {enqueued.run_id} {verb}, model {enqueued.model.name} ({enqueued.model.sha256[:12]})")
    say(counts(now))
    _say_left_out(enqueued.left_out)
    if not now.pending:
        say("nothing to score: every scan has its outcome already")


def _say_sent(enqueued: Enqueued) -> None:
    now = enqueued.progress
    if enqueued.sent is None:
        say(f"{now.pending:,} scans wait for 'worker start', which sends them")
    elif now.pending:
        say(f"{enqueued.sent:,} scans sent")


def _say_rehearsal(plan: Rehearsal, *, as_json: bool) -> None:
    if as_json:
        print_json({"model": plan.model.name, **{k: v for k, v in asdict(plan).items() if k != "model"}})
        return
    say("dry run: no run, scan or label was written, and nothing sent")
    say(f"model {plan.model.name} ({plan.model.sha256[:12]})")
    say(f"{plan.rows:>12,}  scans in the source")
    say(f"{plan.images:>12,}  images found")
    say(f"{plan.decided:>12,}  have their outcome already")
    say(f"{plan.due:>12,}  would be scored, in {plan.chunks:,} chunks, {_expected(plan.seconds)}")
    _say_left_out(plan.left_out)


def _say_left_out(files: int) -> None:
    if files:
        say(f"left out, files not named like an image and folders that cannot be listed or are links: {files:,}")


def _expected(seconds: float | None) -> str:
    """The expected time in words."""
    if seconds is None:
        return "time unknown: this model has scored nothing yet"
    for unit, name in _DURATIONS:
        if seconds >= unit:
            return f"about {seconds / unit:.1f} {name} at the rate of this model's latest run"
    return f"about {seconds:.0f} s at the rate of this model's latest run"


def _flat(enqueued: Enqueued) -> dict[str, Any]:
    model = enqueued.model
    return {
        "run_id": enqueued.run_id,
        "joined": enqueued.joined,
        "resumed": enqueued.resumed,
        "model": model.name,
        "model_sha256": model.sha256,
        "sent": enqueued.sent,
        "left_out": enqueued.left_out,
    }
