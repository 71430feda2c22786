"""`producer nightly`, as a loop or once."""

import logging
import signal
from dataclasses import asdict

from sqlalchemy import Engine

from db.engine.session import open_database, read_transaction
from db.errors import UserError, WorkStopped
from db.ledger.runs import find_run, progress
from db.settings import load_settings
from producer.commands.common import err, exit_by, print_json, say
from producer.ingest.source import Source, check_source
from producer.monitoring.progress import why_stopped
from producer.monitoring.prometheus import serve_fleet_metrics
from producer.nightly.loop import Nightly
from producer.nightly.schedule import Schedule, read_schedule
from producer.nightly.settings import NightlySettings
from producer.nightly.summary import to_text
from producer.retry import Clock
from worker.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)


def nightly_command(source: Source, *, at: str | None, zone: str, now: bool, as_json: bool) -> None:
    """`producer nightly`; `at` is None where only `--now` counts."""
    check_source(source)
    if (at is None) != now:
        raise UserError("say when: --at HH:MM for every night, or --now for this once")
    if as_json and not now:
        raise UserError("--json goes with --now: the loop has no end at which to print")
    schedule = None if at is None else read_schedule(at, zone)
    configure_logging()
    clock = Clock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, clock.stop)
    settings = load_settings(NightlySettings)
    err.print(f"home: {settings.home}", markup=False)
    engine = open_database(settings.database_url)
    nights = Nightly(settings, engine, source, clock)
    if schedule is None:
        _once(nights, engine, as_json=as_json)
    else:
        # Here, for who asks how much waits wants to know it above all when every worker is dead.
        serve_fleet_metrics(settings, engine)
        _every_night(nights, schedule)


def _once(nights: Nightly, engine: Engine, *, as_json: bool) -> None:
    summary = nights.once()
    if as_json:
        print_json(asdict(summary))
    else:
        say(to_text(summary).rstrip())
    with read_transaction(engine) as connection:
        run, how_far = find_run(connection, summary.run_id), progress(connection, summary.run_id)
    if summary.stop_reason is not None:
        raise WorkStopped(why_stopped(run, how_far))
    exit_by(how_far)


def _every_night(nights: Nightly, schedule: Schedule) -> None:
    try:
        nights.run(schedule)
    except WorkStopped as stopped:
        # How a loop ends: no failure.
        logger.info("stopped: %s", stopped)
