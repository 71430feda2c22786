"""Computes when nights start: one moment per date, across clock changes. Pure; moments are in UTC."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from db.errors import UserError
from db.labels.reading import Reading
from producer.ingest.source import Source
from worker.storage.image_store import SCHEME

_TIME_OF_DAY: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
#: Hex digits of a job's id: enough that two jobs of one ledger do not share it.
_JOB_ID_DIGITS: Final = 12
#: Days between a night's date and that of its start in UTC: clocks are up to 26 hours apart, plus one for a gap.
_MAX_DAYS_APART: Final = 3


@dataclass(frozen=True, kw_only=True)
class Night:
    """A date of the zone's calendar, and the moment at which its run is opened."""

    day: date
    starts_at: datetime


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Once a day at a local time."""

    at: time
    zone: ZoneInfo

    @property
    def name(self) -> str:
        """`02:00 Europe/Berlin`."""
        return f"{self.at:%H:%M} {self.zone.key}"

    def latest(self, now: datetime) -> Night:
        """The last night that has started."""
        return max((night for night in self._nights_around(now) if night.starts_at <= now), key=_start)

    def next(self, now: datetime) -> Night:
        """The first night that has not started yet."""
        return min((night for night in self._nights_around(now) if night.starts_at > now), key=_start)

    def _nights_around(self, now: datetime) -> Iterator[Night]:
        today = now.astimezone(UTC).date()
        for offset in range(-_MAX_DAYS_APART, _MAX_DAYS_APART + 1):
            day = today + timedelta(days=offset)
            starts_at = self._start_of(day)
            # A date that a zone left out (Apia's 30 December 2011) would start together with the next one.
            if starts_at < self._start_of(day + timedelta(days=1)):
                yield Night(day=day, starts_at=starts_at)

    def _start_of(self, day: date) -> datetime:
        # fold=0: a time that occurs twice means the first; one that is skipped comes later by the length of the gap.
        return datetime.combine(day, self.at, tzinfo=self.zone).astimezone(UTC)


def _start(night: Night) -> datetime:
    return night.starts_at


def parse_schedule(at: str, zone: str) -> Schedule:
    """Parse `HH:MM` and the IANA name of a time zone.

    Raises:
        UserError: `at` is not a time of day, or there is no such zone.
    """
    found = _TIME_OF_DAY.fullmatch(at.strip())
    if found is None:
        raise UserError(f"--at {at}: not a time of day; write HH:MM, from 00:00 to 23:59")
    try:
        known = ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"--tz {zone}: no such time zone; write a name like Europe/Berlin or UTC") from error
    return Schedule(at=time(int(found[1]), int(found[2])), zone=known)


def job_id(source: Source) -> str:
    """A digest that all nights of one source share, whatever folder the command was started in."""
    # The names of its fields count, too: renaming one would make every night a first night. Some no night has, and
    # study dates do not make another source.
    left_out = ("moved", "correct_patients", "study_dates")
    fields = {name: value for name, value in asdict(source).items() if name not in left_out}
    # Version 0.1 knew only the names of columns.
    reading = fields.pop("reading")
    fields["columns"] = reading.pop("columns")
    if source.reading != Reading(columns=source.reading.columns):
        fields["reading"] = reading
    parts = fields | {
        "csv": source.csv and str(source.csv.absolute()),
        "images": _absolute(source.images),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_JOB_ID_DIGITS]


def _absolute(images: str | None) -> str | None:
    return images if images is None or images.startswith(SCHEME) else str(Path(images).absolute())
