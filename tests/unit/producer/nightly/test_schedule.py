"""When nights start, across every clock change. Pure: no clock, no database."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import UserError
from db.labels.csv_file import Columns, Reading
from producer.ingest.source import Source
from producer.nightly.schedule import Schedule, job_id, parse_schedule

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
    """Across every change nights follow each other strictly, and exactly the dates that exist have one."""
    zone = ZoneInfo(name)
    found = list(changes(zone, *ZONES[name]))
    assert found
    for noon in found:
        for at in TIMES:
            schedule = Schedule(at=at, zone=zone)
            night = schedule.latest(noon - timedelta(days=3))
            for _ in range(6):
                after = schedule.next(night.starts_at)
                assert after.starts_at > night.starts_at
                between = [night.day + timedelta(days=n) for n in range(1, (after.day - night.day).days)]
                assert not any(exists(zone, day) for day in between), (name, at, between)
                assert after.day > night.day and exists(zone, after.day)
                assert schedule.latest(after.starts_at) == after
                assert schedule.latest(after.starts_at - timedelta(seconds=1)) == night
                night = after


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"])
def test_a_night_starts_at_its_local_time_unless_that_is_skipped(name):
    """Then it is later by the length of the gap: a minute after the gap starts becomes a minute after it ends."""
    zone = ZoneInfo(name)
    for noon in changes(zone, *ZONES[name]):
        for at in TIMES:
            night = Schedule(at=at, zone=zone).latest(noon + timedelta(days=1))
            local = night.starts_at.astimezone(zone).replace(tzinfo=None)
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
    """In spring the skipped time comes an hour later; in autumn the first of two counts."""
    schedule = parse_schedule("02:30", "Europe/Berlin")
    night = schedule.latest(moment)
    assert (night.day, night.starts_at) == (day, moment)


def test_a_date_that_a_zone_left_out_has_no_night():
    """Samoa went from the 29th to the 31st of December 2011."""
    schedule = parse_schedule("02:00", "Pacific/Apia")
    night, days = schedule.latest(datetime(2011, 12, 29, 13, tzinfo=UTC)), []
    for _ in range(3):
        days.append(night.day.day)
        night = schedule.next(night.starts_at)
    assert days == [29, 31, 1]


@settings(max_examples=300)
@given(
    now=st.datetimes(datetime(1890, 1, 1), datetime(2060, 1, 1)),  # noqa: DTZ001 -- hypothesis wants them so
    zone=st.sampled_from(sorted(available_timezones())),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
)
def test_at_any_moment_one_night_is_the_latest_and_its_successor_the_next(now, zone, at):
    """This holds in every zone."""
    schedule, now = Schedule(at=at, zone=ZoneInfo(zone)), now.replace(tzinfo=UTC)
    latest, after = schedule.latest(now), schedule.next(now)
    assert latest.starts_at <= now < after.starts_at
    assert schedule.next(latest.starts_at) == after
    assert schedule.latest(after.starts_at) == after
    assert after.starts_at - latest.starts_at <= timedelta(hours=50)


@pytest.mark.parametrize("at", ["24:00", "2", "02:60", "noon", "", "-1:00", "02:00:00"])
def test_a_wrong_time_of_day_is_refused(at):
    """One sentence names the flag."""
    with pytest.raises(UserError, match=r"^--at .*not a time of day"):
        parse_schedule(at, "UTC")


@pytest.mark.parametrize("zone", ["Berlin", "", "/etc/passwd", "../etc/passwd", "Europe", "a\0b", "x" * 999, "Ö"])
def test_an_unknown_zone_is_refused(zone):
    """However odd its name is."""
    with pytest.raises(UserError, match=r"^--tz "):
        parse_schedule("02:00", zone)


def test_a_job_id_depends_on_the_source_and_not_on_the_current_folder(tmp_path, monkeypatch):
    """A relative path names the same file; another model, CSV or folder is another job."""
    monkeypatch.chdir(tmp_path)
    one = Source(csv=Path("a.csv"), images="films")
    assert job_id(one) == job_id(Source(csv=tmp_path / "a.csv", images=str(tmp_path / "films")))
    others = [Source(csv=Path("a.csv")), Source(images="films"), Source(csv=Path("a.csv"), images="films", model="m")]
    assert len({job_id(source) for source in (one, *others)}) == 4


def test_a_job_id_is_the_one_of_version_0_1_unless_the_csv_is_read_otherwise():
    """Another id would make the next night a first night; both ids were taken from that version."""
    csv = Path("/data/a.csv")
    named = Reading(columns=Columns(image="File"))
    assert job_id(Source(csv=csv)) == "409bec19257d"
    assert job_id(Source(csv=csv, images="s3://films", reading=named)) == "d4a844e33bc5"
    assert job_id(Source(csv=csv, reading=Reading(uncertain="positive"))) != "409bec19257d"
