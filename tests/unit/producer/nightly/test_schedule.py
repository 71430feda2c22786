"""When nights begin, across every change of the clocks. Pure: no clock, no database."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import UserError
from producer.ingest.source import Source
from producer.nightly.schedule import Schedule, job_of, read_schedule

#: Zones with odd clocks, and the years in which they were odd.
ZONES = {
    "Europe/Berlin": (2019, 2027),
    "America/New_York": (2005, 2009),
    "America/Sao_Paulo": (2012, 2020),
    "Australia/Lord_Howe": (2019, 2027),
    "America/Nuuk": (2022, 2027),
    "Africa/Casablanca": (2019, 2024),
    "Asia/Pyongyang": (2014, 2019),
    "Pacific/Apia": (2010, 2013),
    "Pacific/Kwajalein": (1993, 1994),
    "America/Juneau": (1867, 1868),
}
TIMES = (time(0, 0), time(0, 30), time(1, 45), time(2, 0), time(2, 30), time(3, 0), time(12, 0), time(23, 30))


def changes(zone, first, last):
    """Noons in UTC between two years around which the zone's clocks change."""
    noon = datetime(first, 1, 1, 12, tzinfo=UTC)
    while noon.year < last:
        tomorrow = noon + timedelta(days=1)
        if noon.astimezone(zone).utcoffset() != tomorrow.astimezone(zone).utcoffset():
            yield noon
        noon = tomorrow


def exists(zone, day):
    """Whether the zone's calendar has this date."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=30)
    return any((start + timedelta(hours=h)).astimezone(zone).date() == day for h in range(84))


@pytest.mark.parametrize("name", ZONES)
def test_each_date_has_one_night_whatever_the_clocks_do(name):
    """Over every change: nights strictly follow each other, each date that exists has one, and no other has."""
    zone = ZoneInfo(name)
    found = list(changes(zone, *ZONES[name]))
    assert found
    for noon in found:
        for at in TIMES:
            schedule = Schedule(at=at, zone=zone)
            night = schedule.latest(noon - timedelta(days=3))
            for _ in range(6):
                after = schedule.next(night.begins)
                assert after.begins > night.begins
                between = [night.day + timedelta(days=n) for n in range(1, (after.day - night.day).days)]
                assert not any(exists(zone, day) for day in between), (name, at, between)
                assert after.day > night.day and exists(zone, after.day)
                assert schedule.latest(after.begins) == after
                assert schedule.latest(after.begins - timedelta(seconds=1)) == night
                night = after


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"])
def test_a_night_begins_at_its_local_time_unless_that_never_comes(name):
    """Then it is later by as much as the clocks leap: a minute after the leap's begin is a minute after its end."""
    zone = ZoneInfo(name)
    for noon in changes(zone, *ZONES[name]):
        for at in TIMES:
            night = Schedule(at=at, zone=zone).latest(noon + timedelta(days=1))
            local = night.begins.astimezone(zone).replace(tzinfo=None)
            late = local - datetime.combine(night.day, at)
            assert late in (timedelta(0), timedelta(minutes=30), timedelta(hours=1))


@pytest.mark.parametrize(
    ("day", "moment"),
    [
        (date(2026, 3, 28), datetime(2026, 3, 28, 1, 30, tzinfo=UTC)),
        (date(2026, 3, 29), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        (date(2026, 3, 30), datetime(2026, 3, 30, 0, 30, tzinfo=UTC)),
        (date(2026, 10, 25), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (date(2026, 10, 26), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)),
    ],
    ids=str,
)
def test_half_past_two_in_berlin(day, moment):
    """A time that the spring leaves out comes an hour later; of the autumn's two the first counts."""
    schedule = read_schedule("02:30", "Europe/Berlin")
    night = schedule.latest(moment)
    assert (night.day, night.begins) == (day, moment)


def test_a_date_that_a_zone_left_out_has_no_night():
    """Samoa went from the 29th to the 31st of December 2011."""
    schedule = read_schedule("02:00", "Pacific/Apia")
    night, days = schedule.latest(datetime(2011, 12, 29, 13, tzinfo=UTC)), []
    for _ in range(3):
        days.append(night.day.day)
        night = schedule.next(night.begins)
    assert days == [29, 31, 1]


@settings(max_examples=300)
@given(
    now=st.datetimes(datetime(1890, 1, 1), datetime(2060, 1, 1)),  # noqa: DTZ001 -- hypothesis wants them so
    zone=st.sampled_from(sorted(available_timezones())),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
)
def test_at_any_moment_one_night_is_the_latest_and_its_successor_the_next(now, zone, at):
    """In every zone there is."""
    schedule, now = Schedule(at=at, zone=ZoneInfo(zone)), now.replace(tzinfo=UTC)
    latest, after = schedule.latest(now), schedule.next(now)
    assert latest.begins <= now < after.begins
    assert schedule.next(latest.begins) == after
    assert schedule.latest(after.begins) == after
    assert after.begins - latest.begins <= timedelta(hours=50)


@pytest.mark.parametrize("at", ["24:00", "2", "02:60", "noon", "", "-1:00", "02:00:00"])
def test_what_is_no_time_of_day_is_refused(at):
    """In one sentence that names the flag."""
    with pytest.raises(UserError, match=r"^--at .*not a time of day"):
        read_schedule(at, "UTC")


@pytest.mark.parametrize("zone", ["Berlin", "", "/etc/passwd", "../etc/passwd", "Europe", "a\0b", "x" * 999, "Ö"])
def test_what_is_no_zone_is_refused(zone):
    """However odd the name."""
    with pytest.raises(UserError, match=r"^--tz "):
        read_schedule("02:00", zone)


def test_a_job_is_known_by_its_source_wherever_it_is_named_from(tmp_path, monkeypatch):
    """A relative path is the file's; another model, dataset or folder is another job."""
    monkeypatch.chdir(tmp_path)
    one = Source(csv=Path("a.csv"), images="films")
    assert job_of(one) == job_of(Source(csv=tmp_path / "a.csv", images=str(tmp_path / "films")))
    others = [Source(csv=Path("a.csv")), Source(images="films"), Source(csv=Path("a.csv"), images="films", model="m")]
    assert len({job_of(source) for source in (one, *others)}) == 4
