"""When nights begin: one moment a date, whatever the clocks of the zone do. Pure; moments are in UTC."""

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
from producer.ingest.source import Source
from worker.storage.image_store import SCHEME

_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
#: Of a job's digest: enough that no two jobs of one ledger share it.
_DIGITS: Final = 12
#: Dates that a night may lie from the date of its moment in UTC: clocks differ by up to 26 hours, one more for a gap.
_REACH: Final = 3


@dataclass(frozen=True, kw_only=True)
class Night:
    """A date of the zone's calendar, and the moment at which its work begins."""

    day: date
    begins: datetime


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Every day at one local time."""

    at: time
    zone: ZoneInfo

    @property
    def name(self) -> str:
        """`02:00 Europe/Berlin`."""
        return f"{self.at:%H:%M} {self.zone.key}"

    def latest(self, now: datetime) -> Night:
        """The last night that has begun."""
        return max((night for night in self._around(now) if night.begins <= now), key=lambda night: night.begins)

    def next(self, now: datetime) -> Night:
        """The first night that has not."""
        return min((night for night in self._around(now) if night.begins > now), key=lambda night: night.begins)

    def _around(self, now: datetime) -> Iterator[Night]:
        today = now.astimezone(UTC).date()
        for offset in range(-_REACH, _REACH + 1):
            day = today + timedelta(days=offset)
            begins = self._moment(day)
            # A date that a zone left out (Apia's 30 December 2011) would begin together with the next.
            if begins < self._moment(day + timedelta(days=1)):
                yield Night(day=day, begins=begins)

    def _moment(self, day: date) -> datetime:
        # fold=0: of a time that comes twice the first, and one that never comes is as much later as the clocks leap.
        return datetime.combine(day, self.at, tzinfo=self.zone).astimezone(UTC)


def read_schedule(at: str, zone: str) -> Schedule:
    """The schedule of `HH:MM` and an IANA zone's name.

    Raises:
        UserError: either is none.
    """
    found = _TIME.fullmatch(at.strip())
    if found is None:
        raise UserError(f"--at {at}: not a time of day from 00:00 to 23:59")
    try:
        known = ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"--tz {zone}: no such time zone; it has a name like Europe/Berlin or UTC") from error
    return Schedule(at=time(int(found[1]), int(found[2])), zone=known)


def job_of(source: Source) -> str:
    """The digest by which nights of one source know each other, wherever a command was typed."""
    parts = asdict(source) | {
        "csv": source.csv and str(source.csv.absolute()),
        "images": _settled(source.images),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _settled(images: str | None) -> str | None:
    return images if images is None or images.startswith(SCHEME) else str(Path(images).absolute())
