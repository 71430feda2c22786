"""`producer nightly`: once a night a source's due scans are enqueued; when the run ends, report and summary follow.

A run ends when it closes, or is stopped for its rejects: the next night makes such a one go on.

All that must outlive this process is in SQL: which nights have their run, and whose summary was claimed. So it may be
killed at any time, run twice at once, or be away for nights.
"""

import logging
from datetime import date, datetime
from typing import Final

from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.errors import TemporaryError
from db.ledger.nightly_runs import claim_summary, latest_night, release_summary, to_summarise
from db.ledger.runs import find_run
from producer.ingest.enqueue import enqueue
from producer.ingest.source import Source
from producer.nightly.notifications import Channel, open_channels
from producer.nightly.schedule import Schedule, job_of
from producer.nightly.settings import NightlySettings
from producer.nightly.summary import Summary, headline, summarise
from producer.retry import DATABASE_ERRORS, Clock, RetryTimer, cause_of

#: Seconds between two looks at the clock and at open runs.
_TICK: Final = 10.0
#: Seconds between two looks at the one run of `--now`.
_LOOK: Final = 1.0
#: Seconds before each further try to send a summary.
_PAUSES: Final = (5.0, 30.0, 120.0)

logger = logging.getLogger(__name__)


class Nightly:
    """The nights of one source."""

    def __init__(self, settings: NightlySettings, engine: Engine, source: Source, clock: Clock) -> None:
        self._settings = settings
        self._engine = engine
        self._source = source
        self._clock = clock
        self._job = job_of(source)
        self._channels = open_channels(settings)
        #: The last night that needs nothing any more; None until the ledger was asked.
        self._done: date | None = None
        self._nights = RetryTimer(clock, "this night's run cannot be opened yet")
        self._summaries = RetryTimer(clock, "a run's summary cannot be made yet")

    def run(self, schedule: Schedule) -> None:
        """Do every night's work until stopped; of nights that were missed only the last is caught up.

        Raises:
            WorkStopped: told to stop.
        """
        logger.info("next night %s", _in_words(schedule, self._clock.now()))
        while True:
            self.look(schedule)
            until = (schedule.next(self._clock.now()).begins - self._clock.now()).total_seconds()
            # Short: the machine may be suspended and the clock be set, and runs close meanwhile.
            self._clock.wait(min(_TICK, until))

    def look(self, schedule: Schedule) -> None:
        """Open this night's run if it is due, and send the summaries of runs that have closed."""
        if self._nights.is_due:
            with self._nights.trying():
                self._begin_due(schedule)
        if self._summaries.is_due:
            with self._summaries.trying():
                if not all(self._settle(run_id)[1] for run_id in self._ended()):
                    raise TemporaryError("a summary was not sent")

    def once(self) -> Summary:
        """Open or join a run now, follow it until it ends, and send its summary and those that somebody left unsent.

        Raises:
            UserError: as `enqueue`.
            WorkStopped: told to stop.
        """
        # The moment, to the second: unlike a date it keeps nobody from a second run on the same day.
        run_id = self._begin(f"{self._job} now {self._clock.now():%Y-%m-%dT%H:%M:%SZ}")
        while not self._has_ended(run_id):
            self._clock.wait(_LOOK)
        for left_behind in self._ended():
            if left_behind != run_id:
                self._settle(left_behind)
        return self._settle(run_id)[0]

    def _begin_due(self, schedule: Schedule) -> None:
        night, series = schedule.latest(self._clock.now()), f"{self._job} {schedule.name}"
        if self._done is None:
            with read_transaction(self._engine) as connection:
                # A first start has missed nothing.
                self._done = latest_night(connection, series) or night.day
        if night.day > self._done:
            self._begin(f"{series} {night.day}")
            self._done = night.day
            logger.info("next night %s", _in_words(schedule, self._clock.now()))

    def _begin(self, night: str) -> int:
        enqueued = enqueue(self._settings, self._engine, self._source, night=night)
        now = enqueued.progress
        verb = "resumed" if enqueued.resumed else "joined" if enqueued.joined else "opened"
        logger.info("run %d %s: %d scans, %d pending", enqueued.run_id, verb, now.expected, now.pending)
        return enqueued.run_id

    def _ended(self) -> list[int]:
        with read_transaction(self._engine) as connection:
            return to_summarise(connection, self._job)

    def _has_ended(self, run_id: int) -> bool:
        try:
            with read_transaction(self._engine) as connection:
                run = find_run(connection, run_id)
                return run.finished_at is not None or run.is_stopped
        except DATABASE_ERRORS as error:
            logger.warning("run %d cannot be looked at: %s", run_id, cause_of(error))
            return False

    def _settle(self, run_id: int) -> tuple[Summary, bool]:
        """Report a run that ended, and send its summary unless another process does or did.

        A process that is killed between the claim and the sending takes the message with it, never data: the report
        is there, and `producer status` says the same. The other order would send some summaries twice.

        Returns:
            The summary, and whether nobody needs to try again.
        """
        summary = self._report(run_id)
        with self._engine.begin() as connection:
            mine = claim_summary(connection, run_id)
        return summary, not mine or self._send(summary)

    def _report(self, run_id: int) -> Summary:
        # Plots cost a second of imports, which a waiting process need not pay.
        from producer.report.write import write_report

        # Where `producer report` writes it.
        folder = self._settings.home / "reports" / f"run-{run_id}"
        with self._engine.begin() as connection:
            # A stopped run has pending scans; a cancelled one may share some with another.
            return summarise(connection, write_report(connection, run_id, folder, partial=True))

    def _send(self, summary: Summary) -> bool:
        """Send a summary whose claim is held; if nothing got out, not even at the last try, give the claim back."""
        logger.info("%s", headline(summary))
        left = list(self._channels)
        try:
            self._try_channels(summary, left)
        finally:
            # One channel's success settles it: a second message there would be worse than one missing elsewhere.
            unsent = bool(left) and len(left) == len(self._channels)
            if unsent:
                with self._engine.begin() as connection:
                    release_summary(connection, summary.run_id)
        return not unsent

    def _try_channels(self, summary: Summary, left: list[Channel]) -> None:
        """Send to each channel in turn and again; those that took it are removed from `left`."""
        for pause in (0.0, *_PAUSES):
            if left:
                self._clock.wait(pause)
            for channel in tuple(left):
                if _sent(channel, summary):
                    left.remove(channel)


def _sent(channel: Channel, summary: Summary) -> bool:
    try:
        channel.send(summary)
    except TemporaryError as error:
        logger.warning("summary of run %d: %s", summary.run_id, error)
        return False
    logger.info("summary of run %d sent to %s", summary.run_id, channel.name)
    return True


def _in_words(schedule: Schedule, now: datetime) -> str:
    night = schedule.next(now)
    return f"{night.day} at {schedule.name}, {night.begins:%Y-%m-%d %H:%M} UTC"
