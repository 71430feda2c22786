"""Commands that open or change a run: enqueue, run, resume, cancel."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from db.close_run import close_finished_runs
from db.counted import counted
from db.engine.session import address_of, read_transaction
from db.errors import TemporaryError, UserError
from db.ledger.cancel_run import cancel_run
from db.ledger.runs import progress
from db.metrics.known_patients import KnownPatients
from producer.commands.common import (
    err,
    exit_on_rejects,
    format_progress,
    load_run,
    open_ledger,
    print_ignored,
    print_json,
    print_line,
    print_unusable,
)
from producer.commands.inspect_run import report_run
from producer.ingest.enqueue import Enqueued, EnqueuePlan, enqueue, plan_enqueue, resume
from producer.ingest.source import Source, describe_left_out
from producer.local_worker import local_worker
from producer.monitoring.progress import FollowingStopped, follow, how_to_continue
from worker.settings import WorkerSettings

_SECONDS_PER_UNIT: Final = {"d": 86_400, "h": 3_600, "min": 60}


def enqueue_command(source: Source, *, wait: bool, dry_run: bool, as_json: bool) -> None:
    """`producer enqueue`."""
    settings, engine = open_ledger()
    if dry_run:
        _print_plan(plan_enqueue(settings, engine, source, print_unusable), as_json=as_json)
        return
    enqueued = enqueue(settings, engine, source, print_unusable)
    if not as_json:
        _print_enqueued(enqueued)
        _print_sent(enqueued)
    counts = follow(engine, enqueued.run_id, err, alive=lambda: None) if wait else enqueued.progress
    if as_json:
        print_json(_enqueued_as_dict(enqueued) | asdict(counts))
    if wait:
        exit_on_rejects(counts)


def run_command(
    source: Source, report_folder: Path | None, *, reject_colour: bool, admit: str | None, as_json: bool
) -> None:
    """`producer run`."""
    # A wrong code ends the command before anything is written.
    settings, engine = open_ledger(**({"admit": admit} if admit else {}))
    enqueued = enqueue(settings, engine, source, print_unusable)
    if not as_json:
        _print_enqueued(enqueued)
    if enqueued.progress.pending:
        options = ["--reject-colour"] if reject_colour else []
        _score_here(settings, engine, enqueued, [*options, "--admit", settings.admit] if settings.admit else options)
    report_run(settings, engine, enqueued.run_id, report_folder, as_json=as_json)
    if not as_json:
        print_line(f"database: {address_of(engine)}")
    with read_transaction(engine) as connection:
        exit_on_rejects(progress(connection, enqueued.run_id))


def resume_command(run_id: int | None, *, as_json: bool) -> None:
    """`producer resume`."""
    settings, engine = open_ledger()
    run, _ = load_run(engine, run_id)
    try:
        sent = resume(settings, engine, run.id, run.model_sha256)
    except TemporaryError as error:
        raise UserError(
            f"run {run.id}: its scans cannot be sent: {error}; 'worker start' sends them once the broker answers"
        ) from error
    if as_json:
        print_json({"run_id": run.id, "sent": sent})
    else:
        print_line(f"run {run.id}: {counted(sent, 'scan')} sent again")


def cancel_command(run_id: int | None, *, as_json: bool) -> None:
    """`producer cancel`."""
    _, engine = open_ledger()
    run, _ = load_run(engine, run_id)
    cancelled = cancel_run(engine, run.id)
    close_finished_runs(engine)
    if as_json:
        print_json({"run_id": run.id, "cancelled": cancelled})
    else:
        print_line(
            f"run {run.id} cancelled: {counted(cancelled, 'scan')} skipped; the next enqueue picks up what is due"
        )


def _score_here(settings: WorkerSettings, engine: Engine, enqueued: Enqueued, options: Sequence[str]) -> None:
    try:
        with local_worker(settings, enqueued.run_id, enqueued.model.sha256, options=options) as worker:
            err.print(f"a worker is loading the model; its log is {worker.log}", markup=False)
            follow(engine, enqueued.run_id, err, alive=worker.check)
    except FollowingStopped:
        # The worker has written the batch that it had in hand.
        run, counts = load_run(engine, enqueued.run_id)
        raise FollowingStopped(how_to_continue(run.id, counts)) from None


def _print_enqueued(enqueued: Enqueued) -> None:
    counts = enqueued.progress
    verb = "resumed (it had been stopped)" if enqueued.resumed else "joined" if enqueued.joined else "opened"
    print_line(f"run {enqueued.run_id} {verb}, model {enqueued.model.name} ({enqueued.model.sha256[:12]})")
    print_line(format_progress(counts))
    _print_absent(enqueued.missing, enqueued.left_out)
    print_ignored(enqueued.ignored)
    _print_unknown_patients(enqueued.patients)
    if not counts.pending:
        print_line("nothing to score: every scan already has an outcome")


def _print_sent(enqueued: Enqueued) -> None:
    pending = enqueued.progress.pending
    if enqueued.sent is None:
        verb = "waits" if pending == 1 else "wait"
        print_line(f"{counted(pending, 'scan')} {verb} for 'worker start', which sends them")
    elif pending:
        print_line(f"{counted(enqueued.sent, 'scan')} sent")


def _print_plan(plan: EnqueuePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(_plan_as_dict(plan))
        return
    print_line("dry run: no run, scan or label was written, and nothing was sent")
    print_line(f"model {plan.model.name} ({plan.model.sha256[:12]})")
    print_line(f"{plan.scans:>12,}  {'scan' if plan.scans == 1 else 'scans'} in the source")
    print_line(f"{plan.images:>12,}  {'image' if plan.images == 1 else 'images'} found, {plan.missing:,} missing")
    print_line(f"{plan.decided:>12,}  already have an outcome")
    work = f", in {counted(plan.chunks, 'chunk')}, {_format_duration(plan.seconds)}" if plan.due else ""
    print_line(f"{plan.due:>12,}  would be scored{work}")
    _print_absent(0, plan.left_out)
    print_ignored(plan.ignored)
    _print_unknown_patients(plan.patients)


def _print_absent(missing: int, left_out: Mapping[str, int] | None) -> None:
    if missing:
        print_line(f"{counted(missing, 'image')} of the source {'is' if missing == 1 else 'are'} missing")
    if left_out:
        print_line(f"left out: {describe_left_out(left_out)}")


def _print_unknown_patients(patients: KnownPatients) -> None:
    if patients.note:
        print_line(patients.note)


def _format_duration(seconds: float | None) -> str:
    if seconds is None:
        return "time unknown: none of this model's latest runs was long enough to measure a rate"
    source = "at the rate of this model's latest run that was long enough to measure"
    for name, length in _SECONDS_PER_UNIT.items():
        if seconds >= length:
            return f"about {seconds / length:.1f} {name} {source}"
    return f"about {max(1, round(seconds))} s {source}"


def _enqueued_as_dict(enqueued: Enqueued) -> dict[str, object]:
    return {
        "run_id": enqueued.run_id,
        "joined": enqueued.joined,
        "resumed": enqueued.resumed,
        "model": enqueued.model.name,
        "model_sha256": enqueued.model.sha256,
        "sent": enqueued.sent,
        "missing": enqueued.missing,
        **_left_out_as_dict(enqueued.left_out),
        "ignored_words": enqueued.ignored,
        "held_out_note": enqueued.patients.note,
    }


def _plan_as_dict(plan: EnqueuePlan) -> dict[str, object]:
    return {
        "model": plan.model.name,
        "rows": plan.scans,
        "images": plan.images,
        "missing": plan.missing,
        "decided": plan.decided,
        "due": plan.due,
        "chunks": plan.chunks,
        "seconds": plan.seconds,
        **_left_out_as_dict(plan.left_out),
        "ignored_words": plan.ignored,
        "held_out_note": plan.patients.note,
    }


def _left_out_as_dict(left_out: Mapping[str, int] | None) -> dict[str, object]:
    return {"left_out": sum((left_out or {}).values()), "left_out_by_reason": left_out}
