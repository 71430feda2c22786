"""The `nightly` command: a loop with --at, a single run with --now."""

import logging
import signal
import sys
from dataclasses import asdict
from typing import Final

from sqlalchemy import Engine

from db.drift.read import why_no_reference
from db.engine.session import open_database, read_transaction
from db.errors import EXIT_REJECTS, UserError, WorkStopped
from db.home import open_home
from db.ledger.models import find_model
from db.settings import load_settings
from producer.commands.common import load_run, print_json, print_line
from producer.ingest.source import Source, check_source
from producer.monitoring.progress import why_stopped
from producer.monitoring.prometheus import serve_fleet_metrics
from producer.nightly.loop import NightlyLoop
from producer.nightly.schedule import Schedule, parse_schedule
from producer.nightly.settings import NightlySettings
from producer.nightly.summary import to_text
from producer.retry import Clock
from worker.entry_point import stoppable
from worker.telemetry.logs import configure_logging

_STOPPED: Final = "told to stop; scans that were enqueued are still scored"

logger = logging.getLogger(__name__)


def nightly_command(
    source: Source, *, at: str | None, zone: str, now: bool, reference: int | None, as_json: bool
) -> None:
    """`producer nightly`.

    Args:
        source: what to score.
        at: `HH:MM`; None with --now.
        zone: IANA name of the time zone of `at`.
        now: do it once instead of every night.
        reference: the run that each night is compared with; None means the nights before it.
        as_json: print the summary as JSON.
    """
    check_source(source)
    if (at is None) != now:
        raise UserError("add either --at HH:MM, to run every night, or --now, to run once")
    if as_json and not now:
        raise UserError("--json needs --now: with --at there is no end at which to print")
    schedule = None if at is None else parse_schedule(at, zone)
    configure_logging()
    clock = Clock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, clock.stop)
    settings = load_settings(NightlySettings)
    with stoppable(_STOPPED):
        open_home(settings.home)
        engine = open_database(settings.database_url)
        if reference is not None:
            _check_reference(engine, reference, source.model)
        loop = NightlyLoop(settings, engine, source, clock, reference)
        if schedule is None:
            _run_once(loop, engine, as_json=as_json)
        else:
            # The workers do not serve these: how much waits matters most when all of them are dead.
            serve_fleet_metrics(settings, engine, loop.last_judged)
            _run_every_night(loop, schedule)


def _check_reference(engine: Engine, reference: int, model: str | None) -> None:
    """Warn if nights cannot be compared with a run. It may have been pruned, or the model rotated: scoring goes on."""
    with read_transaction(engine) as connection:
        try:
            wanted = find_model(connection, model)
        except UserError:
            # It is registered when a night is opened, and may be published by then.
            return
        why_not = why_no_reference(connection, reference, model=wanted.name, model_sha256=wanted.sha256)
    if why_not is not None:
        logger.warning("nights are scored, but not judged for drift: %s", why_not)


def _run_once(loop: NightlyLoop, engine: Engine, *, as_json: bool) -> None:
    summary = loop.run_once()
    if as_json:
        print_json(asdict(summary))
    else:
        print_line(to_text(summary).rstrip())
    if summary.stop_reason is not None:
        raise WorkStopped(why_stopped(*load_run(engine, summary.run_id)))
    if summary.failed_tonight:
        # Cron reports this exit code, and nobody needs to be told again of what earlier nights rejected.
        sys.exit(EXIT_REJECTS)


def _run_every_night(loop: NightlyLoop, schedule: Schedule) -> None:
    try:
        loop.run(schedule)
    except KeyboardInterrupt:
        # A signal is how the loop ends, so the command exits with 0.
        logger.info("stopped: %s", _STOPPED)
