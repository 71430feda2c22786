"""`producer nightly`: enqueues a source's due scans once a night; when the run ends, reports it and sends a summary.

A run ends when it is finished or cancelled, or when workers stop it for its rejects. The next night resumes a stopped
run.

All state that must outlive the process is in SQL: the run of each night, and which summaries were claimed. So the
process may be killed at any time, run twice at once, or be away for nights.
"""

import logging
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import Engine

from db.drift.night import NightDrift
from db.drift.read import read_drift
from db.engine.session import read_transaction
from db.errors import TemporaryError
from db.ledger.nightly_runs import (
    claim_summary,
    latest_ended_night,
    latest_night,
    release_summary,
    runs_to_summarise,
)
from db.ledger.runs import find_run
from producer.ingest.enqueue import enqueue
from producer.ingest.source import Source, describe_left_out
from producer.nightly.notifications import Channel, open_channels
from producer.nightly.schedule import Schedule, job_id
from producer.nightly.settings import NightlySettings
from producer.nightly.summary import Summary, headline, summarise
from producer.report.write import write_report
from producer.retry import DATABASE_ERRORS, Clock, RetryTimer, cause_of
from worker.artifacts.registration import UnusableFolderLog

#: Seconds between two checks of the clock and of ended runs.
_CHECK_SECONDS: Final = 10.0
#: Seconds between two checks of the run of `--now`.
_POLL_SECONDS: Final = 1.0
#: Seconds before each further attempt to send a summary.
_SEND_RETRY_SECONDS: Final = (5.0, 30.0, 120.0)

logger = logging.getLogger(__name__)


class NightlyLoop:
    """Opens the nightly runs of one source, and settles them: a report and a summary for each."""

    def __init__(
        self, settings: NightlySettings, engine: Engine, source: Source, clock: Clock, reference: int | None = None
    ) -> None:
        """`reference` is the run that nights are compared with; None means the nights before each."""
        self._settings = settings
        self._engine = engine
        self._source = source
        self._clock = clock
        self._reference = reference
        self._job = job_id(source)
        self._channels = open_channels(settings)
        self._unusable_log = UnusableFolderLog(logger)
        #: The latest night whose run was opened; None until the ledger was asked.
        self._last_opened: date | None = None
        self._open_retry = RetryTimer(clock, "this night's run cannot be opened yet")
        self._settle_retry = RetryTimer(clock, "a run's summary cannot be made yet")
        self._drift_retry = RetryTimer(clock, "the last night's drift cannot be judged yet")
        #: The latest ended night that was judged for drift, and the last of it and those before it that has a verdict.
        self._drift_of = 0
        self._last_judged: NightDrift | None = None

    def run(self, schedule: Schedule) -> None:
        """Open each night's run until told to stop; of the nights that were missed, only the last is caught up.

        Raises:
            KeyboardInterrupt: told to stop.
        """
        logger.info("next night: %s", _describe_next(schedule, self._clock.now()))
        while True:
            self.check(schedule)
            until = (schedule.next(self._clock.now()).starts_at - self._clock.now()).total_seconds()
            # Never the whole night: runs end meanwhile, the machine may be suspended and its clock set.
            self._clock.wait(min(_CHECK_SECONDS, until))

    def last_judged(self) -> NightDrift | None:
        """The last night that was judged for drift; None if none was. It asks nothing of the ledger."""
        return self._last_judged

    def check(self, schedule: Schedule) -> None:
        """Open this night's run if it is due, settle the runs that have ended, and judge the last one for drift."""
        if self._open_retry.is_due:
            with self._open_retry.trying():
                self._open_due_run(schedule)
        if self._settle_retry.is_due:
            with self._settle_retry.trying():
                if not all(self._settle(run_id)[1] for run_id in self._unsettled_runs()):
                    raise TemporaryError("a summary was not sent")
        # Last, because it takes seconds in a large ledger.
        if self._drift_retry.is_due:
            with self._drift_retry.trying():
                self._judge_latest_night()

    def run_once(self) -> Summary:
        """Open or join a run now, follow it until it ends, and settle it and the runs that were left unsettled.

        Raises:
            UserError: see `enqueue`.
            KeyboardInterrupt: told to stop.
        """
        # With the time of day: a second run on the same day is another night.
        run_id = self._open_run(f"{self._job} now {self._clock.now():%Y-%m-%dT%H:%M:%SZ}")
        while not self._has_ended(run_id):
            self._clock.wait(_POLL_SECONDS)
        for unsettled in self._unsettled_runs():
            if unsettled != run_id:
                self._settle(unsettled)
        return self._settle(run_id)[0]

    def _open_due_run(self, schedule: Schedule) -> None:
        night, series = schedule.latest(self._clock.now()), f"{self._job} {schedule.name}"
        if self._last_opened is None:
            with read_transaction(self._engine) as connection:
                # A first start has not missed any night.
                self._last_opened = latest_night(connection, series) or night.day
        if night.day > self._last_opened:
            self._open_run(f"{series} {night.day}")
            self._last_opened = night.day
            logger.info("next night: %s", _describe_next(schedule, self._clock.now()))

    def _open_run(self, night: str) -> int:
        enqueued = enqueue(self._settings, self._engine, self._source, self._unusable_log.report, night=night)
        counts = enqueued.progress
        verb = "resumed" if enqueued.resumed else "joined" if enqueued.joined else "opened"
        logger.info("run %d %s: %d scans, %d pending", enqueued.run_id, verb, counts.expected, counts.pending)
        if enqueued.sent is None:
            logger.warning("run %d: no broker answers; its scans wait for 'worker start'", enqueued.run_id)
        if enqueued.left_out:
            logger.info("run %d: left out: %s", enqueued.run_id, describe_left_out(enqueued.left_out))
        if enqueued.ignored:
            # Without the words: in a wrong column they might be names.
            logger.info("run %d: %d unknown words of the labels were ignored", enqueued.run_id, len(enqueued.ignored))
        return enqueued.run_id

    def _judge_latest_night(self) -> None:
        """Judge the latest night after a start, or if another process settled it; else it is judged already."""
        with read_transaction(self._engine) as connection:
            run_id = latest_ended_night(connection, self._job)
            if run_id is None or run_id <= self._drift_of:
                return
            nights = read_drift(connection, run_id, reference=self._reference, shown=1)
            if nights[-1].is_alarm is None:
                nights = read_drift(connection, run_id, reference=self._reference)
        self._note_drift(run_id, nights)

    def _note_drift(self, run_id: int, nights: Sequence[NightDrift]) -> None:
        """Remember the last of these nights that was judged, unless a later one was already."""
        if run_id >= self._drift_of:
            self._drift_of = run_id
            # A night of few scans must not silence the alarm of the one before it.
            self._last_judged = next((night for night in reversed(nights) if night.is_alarm is not None), None)

    def _has_ended(self, run_id: int) -> bool:
        try:
            with read_transaction(self._engine) as connection:
                run = find_run(connection, run_id)
                return run.finished_at is not None or run.is_stopped
        except DATABASE_ERRORS as error:
            logger.warning("run %d: cannot be followed (%s); trying again", run_id, cause_of(error))
            return False

    def _unsettled_runs(self) -> list[int]:
        with read_transaction(self._engine) as connection:
            return runs_to_summarise(connection, self._job)

    def _settle(self, run_id: int) -> tuple[Summary, bool]:
        """Report a run that has ended, and send its summary unless another process claimed it.

        A process that is killed between claim and sending loses the message, never data: the report is written, and
        `producer status` shows the run. The opposite order would send some summaries twice.

        Returns:
            The summary, and whether the run is settled; if it is not, sending must be tried again.
        """
        summary = self._write_report(run_id)
        with self._engine.begin() as connection:
            claimed = claim_summary(connection, run_id)
        return summary, not claimed or self._send(summary)

    def _write_report(self, run_id: int) -> Summary:
        # The folder of `producer report`.
        folder = self._settings.home / "reports" / f"run-{run_id}"
        with read_transaction(self._engine) as connection:
            # A stopped run has pending scans; so has a cancelled one that shares them with an open run.
            report = write_report(connection, run_id, folder, partial=True, reference=self._reference)
            summary = summarise(connection, report)
        self._note_drift(run_id, report.nights)
        return summary

    def _send(self, summary: Summary) -> bool:
        """Send a claimed summary; give the claim back if no channel took it. Gives whether one did."""
        logger.info("%s", headline(summary))
        failed = list(self._channels)
        try:
            self._try_channels(summary, failed)
        finally:
            # One channel is enough: sending it again would send that one a second message.
            unsent = bool(failed) and len(failed) == len(self._channels)
            if unsent:
                with self._engine.begin() as connection:
                    release_summary(connection, summary.run_id)
        return not unsent

    def _try_channels(self, summary: Summary, failed: list[Channel]) -> None:
        """Send to each channel of `failed`, and again after pauses; a channel that took it is removed from the list."""
        for pause in (0.0, *_SEND_RETRY_SECONDS):
            if failed:
                self._clock.wait(pause)
            for channel in tuple(failed):
                if _send_to(channel, summary):
                    failed.remove(channel)


def _send_to(channel: Channel, summary: Summary) -> bool:
    try:
        channel.send(summary)
    except TemporaryError as error:
        logger.warning("summary of run %d not sent: %s", summary.run_id, error)
        return False
    logger.info("summary of run %d sent to %s", summary.run_id, channel.name)
    return True


def _describe_next(schedule: Schedule, now: datetime) -> str:
    night = schedule.next(now)
    return f"{night.day} at {schedule.name} ({night.starts_at:%Y-%m-%d %H:%M} UTC)"
