"""Nights on both databases: one run each, whatever dies, comes twice or is away. Only the clock is a fake."""

import contextlib
import json
import logging
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from db.engine.session import make_engine
from db.errors import WorkStopped
from db.ledger.cancel_run import cancel_run
from db.ledger.nightly_runs import claim_summary
from db.ledger.runs import find_run, progress
from db.ledger.stop_run import stop_run
from db.maintenance.prune_runs import prune_runs
from db.schema.tables import Run
from producer.ingest.source import Source
from producer.nightly.loop import Nightly
from producer.nightly.schedule import read_schedule
from producer.nightly.settings import NightlySettings
from producer.retry import Clock
from tests.support.inbox import mail_server, webhook
from tests.support.ledger import decide_all
from tests.support.world import hash_artifact, image_name, write_csv, write_images

SCHEDULE = read_schedule("02:00", "Europe/Berlin")
DAY = timedelta(days=1)


class FakeClock(Clock):
    """Time that passes when it is told to; stops whoever waits once `end` is reached."""

    def __init__(self):
        super().__init__()
        self.time = SCHEDULE.latest(datetime.now(UTC)).begins + timedelta(hours=1)
        self.end = None
        self.waited = []

    def now(self):
        return self.time

    def wait(self, seconds):
        self.waited.append(seconds)
        self.time += timedelta(seconds=seconds)
        if self.end is not None and self.time >= self.end:
            raise WorkStopped("the test is over")


class House:
    """A source, a ledger and a clock; makes nightly producers that share them."""

    def __init__(self, engine, tmp_path):
        self.engine, self.clock = engine, FakeClock()
        self.home = tmp_path / "canary-home"
        self.films = tmp_path / "canary-films"
        self.csv = tmp_path / "canary-list.csv"
        self.settings = NightlySettings(home=self.home, broker_url="redis://127.0.0.1:1/0")
        hash_artifact(self.home / "models")
        self.arrive(range(3))

    def arrive(self, numbers):
        """Films that the folder and the CSV now list."""
        write_images(self.films, [number for number in numbers if not (self.films / image_name(number)).exists()])
        write_csv(self.csv, numbers)

    def nightly(self, **settings):
        source = Source(csv=self.csv, images=str(self.films))
        return Nightly(self.settings.model_copy(update=settings), self.engine, source, self.clock)

    def with_history(self):
        """Let this night be done, as run 1."""
        nightly = self.nightly()
        nightly._begin(f"{nightly._job} {SCHEDULE.name} {self.today()}")
        decide_all(self.engine, 1)
        with self.engine.begin() as connection:
            claim_summary(connection, 1)

    def opened(self, **settings):
        """A nightly producer that has just opened its first run."""
        nightly = self.nightly(**settings)
        nightly.look(SCHEDULE)
        self.clock.time += DAY
        nightly.look(SCHEDULE)
        return nightly

    def runs(self):
        with self.engine.connect() as connection:
            rows = connection.execute(select(Run.id, Run.night, Run.summarised_at).order_by(Run.id))
            return [(run, night.rsplit(" ", 1)[-1], at is not None) for run, night, at in rows]

    def today(self):
        return str(SCHEDULE.latest(self.clock.time).day)


@pytest.fixture
def house(engine, tmp_path):
    return House(engine, tmp_path)


@pytest.fixture
def hook():
    with webhook() as server:
        yield server


def summaries(hook):
    return [json.loads(body) for _, _, body in hook.taken]


def test_a_first_start_has_missed_nothing_and_each_night_has_one_run(house):
    """However often it looks; the second night scores only what is new."""
    nightly = house.nightly()
    nightly.look(SCHEDULE)
    assert house.runs() == []
    house.clock.time += DAY
    first = house.today()
    nightly.look(SCHEDULE)
    decide_all(house.engine, 1)
    nightly.look(SCHEDULE)
    nightly.look(SCHEDULE)
    assert house.runs() == [(1, first, True)]
    house.arrive(range(5))
    house.clock.time += DAY
    nightly.look(SCHEDULE)
    nightly.look(SCHEDULE)
    assert house.runs() == [(1, first, True), (2, house.today(), False)]
    with house.engine.connect() as connection:
        now = progress(connection, 2)
    assert (now.expected, now.reused, now.pending) == (5, 3, 2)


def test_missed_nights_are_caught_up_once(house):
    """By a process that starts after three nights away: one run, of the last of them."""
    house.with_history()
    house.clock.time += 3 * DAY
    returned = house.nightly()
    returned.look(SCHEDULE)
    returned.look(SCHEDULE)
    assert [night for _, night, _ in house.runs()][1:] == [house.today()]


def test_the_loop_wakes_at_the_night_and_not_after_it(house):
    """Short steps against the clock, the last one to the second; a stop ends it between two."""
    house.with_history()
    begins = SCHEDULE.next(house.clock.time).begins
    house.clock.time = begins - timedelta(minutes=5, seconds=7)
    house.clock.end, waits = begins, len(house.clock.waited)
    with pytest.raises(WorkStopped):
        house.nightly().run(SCHEDULE)
    assert house.clock.time == begins
    assert max(house.clock.waited[waits:]) <= 10
    assert len(house.runs()) == 1
    house.clock.end = begins + timedelta(minutes=1)
    with pytest.raises(WorkStopped):
        house.nightly().run(SCHEDULE)
    assert [night for _, night, _ in house.runs()][1:] == [str(SCHEDULE.latest(begins).day)]


def test_a_second_process_comes_to_the_first_ones_run(house):
    """While it is open, and when it has long closed though the source has changed since."""
    other = house.nightly()
    other.look(SCHEDULE)
    house.opened()
    house.arrive(range(4))
    other.look(SCHEDULE)
    assert len(house.runs()) == 1
    decide_all(house.engine, 1)
    late = house.nightly()
    late._done = SCHEDULE.latest(house.clock.time - DAY).day
    late.look(SCHEDULE)
    assert house.runs() == [(1, house.today(), True)]


def test_a_run_that_is_still_open_the_next_night_is_followed_beside_it(house, hook):
    """The same work is joined, new work has a run of its own; each run has one summary."""
    nightly = house.opened(webhook_url=hook.url)
    house.clock.time += DAY
    nightly.look(SCHEDULE)
    second = house.today()
    assert house.runs() == [(1, second, False)], "yesterday's run is tonight's now"
    house.arrive(range(5))
    house.clock.time += DAY
    nightly.look(SCHEDULE)
    decide_all(house.engine, 2)
    nightly.look(SCHEDULE)
    decide_all(house.engine, 1)
    nightly.look(SCHEDULE)
    assert house.runs() == [(1, second, True), (2, house.today(), True)]
    assert sorted(summary["run_id"] for summary in summaries(hook)) == [1, 2]


def test_a_night_that_joined_yesterdays_run_is_no_missed_night_after_a_restart(house, hook):
    """The run has closed since, and its night has had its run: no second one, no second summary."""
    nightly = house.opened(webhook_url=hook.url)
    house.clock.time += DAY
    nightly.look(SCHEDULE)
    decide_all(house.engine, 1)
    nightly.look(SCHEDULE)
    house.nightly(webhook_url=hook.url).look(SCHEDULE)
    assert house.runs() == [(1, house.today(), True)]
    assert [summary["run_id"] for summary in summaries(hook)] == [1]


def test_who_died_between_closing_and_summary_is_made_good_by_the_next_start(house, hook):
    """Report and summary come once, though nobody of that night lives."""
    nightly = house.opened(webhook_url=hook.url)
    decide_all(house.engine, 1)
    del nightly
    for _ in range(2):
        house.nightly(webhook_url=hook.url).look(SCHEDULE)
    (summary,) = summaries(hook)
    assert (summary["scored"], summary["night"], summary["cancelled"]) == (3, house.today(), False)
    assert (summary["finding"], summary["positives"], summary["negatives"]) == ("Abnormal", 1, 2)
    assert (house.home / "reports" / "run-1" / "index.html").exists()
    assert house.nightly()._ended() == [], "nobody looks at it again"


def test_a_summary_that_nobody_takes_is_tried_again_until_somebody_does(house, hook):
    """Four tries under one claim, then the claim is given back for a later look; one message in the end."""
    nightly = house.opened(webhook_url=hook.url)
    decide_all(house.engine, 1)
    hook.answers = [503] * 4
    nightly.look(SCHEDULE)
    assert (hook.asked, house.runs()) == (4, [(1, house.today(), False)])
    nightly.look(SCHEDULE)
    assert hook.asked == 4, "not before a minute has passed"
    house.clock.time += timedelta(minutes=2)
    nightly.look(SCHEDULE)
    nightly.look(SCHEDULE)
    assert (len(hook.taken), house.runs()) == (1, [(1, house.today(), True)])


def test_what_one_channel_took_is_not_sent_there_again(house, hook):
    """The other is tried a few times, and left at that."""
    with mail_server() as box:
        addresses = {"smtp_url": f"smtp://127.0.0.1:{box.port}", "mail_from": "a@x.example", "mail_to": "b@x.example"}
        nightly = house.opened(webhook_url=hook.url, **addresses)
        hook.answers = [503] * 4
        decide_all(house.engine, 1)
        nightly.look(SCHEDULE)
        assert (hook.asked, hook.taken, len(box.mails)) == (4, [], 1)
        house.clock.time += timedelta(hours=1)
        nightly.look(SCHEDULE)
    assert (hook.asked, len(box.mails), house.runs()) == (4, 1, [(1, house.today(), True)])


def test_a_stop_while_a_summary_waits_for_its_next_try_gives_the_claim_back(house, hook):
    """The next start sends it."""
    nightly = house.opened(webhook_url=hook.url)
    hook.answers = [503]
    decide_all(house.engine, 1)
    house.clock.end = house.clock.time + timedelta(seconds=1)
    with pytest.raises(WorkStopped):
        nightly.look(SCHEDULE)
    assert house.runs() == [(1, house.today(), False)]


def test_a_summary_that_is_a_week_late_is_not_sent(house):
    """Whoever mends a webhook after months gets the last nights, not all of them."""
    nightly = house.opened()
    decide_all(house.engine, 1)
    assert nightly._ended() == [1]
    with house.engine.begin() as connection:
        connection.execute(update(Run).values(finished_at=datetime.now(UTC) - 8 * DAY))
    assert nightly._ended() == []


def test_of_two_that_claim_one_summary_one_gets_it(house):
    """SQL decides."""
    house.with_history()
    with house.engine.begin() as connection:
        connection.execute(update(Run).values(summarised_at=None))
    claims = []
    for _ in range(2):
        with house.engine.begin() as connection:
            claims.append(claim_summary(connection, 1))
    assert claims == [True, False]


def test_a_source_that_is_away_is_one_sentence_without_its_name_and_tried_again(house, caplog):
    """More and more rarely, until it is there; neither log nor message names file, folder or patient."""
    caplog.set_level(logging.INFO)
    house.with_history()
    away = house.films.rename(house.films.with_name("elsewhere"))
    house.csv.unlink()
    house.clock.time += DAY
    nightly = house.nightly()
    tries = []
    for minute in range(40):
        before = len(caplog.records)
        nightly.look(SCHEDULE)
        tries += [minute] * (len(caplog.records) > before)
        house.clock.time += timedelta(minutes=1)
    assert tries == [0, 1, 3, 7, 15, 25, 35]
    before = len(caplog.records)
    house.clock.time -= timedelta(minutes=30)
    nightly.look(SCHEDULE)
    assert len(caplog.records) > before, "a clock that is set back makes nobody wait"
    house.clock.time += timedelta(minutes=30)
    assert "the source, model or folder was refused" in caplog.text
    assert len(house.runs()) == 1
    shutil.move(away, house.films)
    house.arrive(range(4))
    house.clock.time += timedelta(minutes=10)
    nightly.look(SCHEDULE)
    assert len(house.runs()) == 2
    own = [record.getMessage() for record in caplog.records if record.name.startswith("producer")]
    assert not [line for line in own if "canary" in line or image_name(0)[:8] in line]


def test_no_name_leaves_the_house(house, hook):
    """Neither path nor CSV nor dataset nor patient stands in a message."""
    with mail_server() as box:
        addresses = {"smtp_url": f"smtp://127.0.0.1:{box.port}", "mail_from": "a@x.example", "mail_to": "b@x.example"}
        house.films.joinpath(image_name(1)).write_bytes(b"<html>")
        nightly = house.opened(webhook_url=hook.url, **addresses)
        decide_all(house.engine, 1)
        nightly.look(SCHEDULE)
        sent = [body.decode() for _, _, body in hook.taken] + [mail.as_string() for _, mail, _ in box.mails]
    assert len(sent) == 2
    for message in sent:
        assert "canary" not in message and image_name(0)[:8] not in message and ".png" not in message


def test_a_cancelled_night_says_so_and_the_next_takes_its_scans_up(house, hook):
    """Its summary counts them as rejected."""
    nightly = house.opened(webhook_url=hook.url)
    cancel_run(house.engine, 1)
    nightly.look(SCHEDULE)
    (summary,) = summaries(hook)
    assert (summary["cancelled"], summary["rejected"], summary["scored"]) == (True, {"cancelled": 3}, 0)
    house.clock.time += DAY
    nightly.look(SCHEDULE)
    with house.engine.connect() as connection:
        assert progress(connection, 2).pending == 3


def test_a_stopped_night_says_why_once_and_the_next_night_makes_it_go_on(house, hook):
    """Not a second process of the same night, which has its run already; its end has a summary of its own."""
    nightly = house.opened(webhook_url=hook.url)
    with house.engine.begin() as connection:
        stop_run(connection, 1, "too much cannot be scored")
    late = house.nightly(webhook_url=hook.url)
    late._done = SCHEDULE.latest(house.clock.time - DAY).day
    for _ in range(2):
        nightly.look(SCHEDULE)
        late.look(SCHEDULE)
    (summary,) = summaries(hook)
    assert (summary["stop_reason"], summary["pending"]) == ("too much cannot be scored", 3)
    house.clock.time += DAY
    nightly.look(SCHEDULE)
    with house.engine.connect() as connection:
        assert not find_run(connection, 1).is_stopped
    decide_all(house.engine, 1)
    nightly.look(SCHEDULE)
    assert [(told["run_id"], told["stop_reason"]) for told in summaries(hook)][1:] == [(1, None)]
    assert house.runs() == [(1, house.today(), True)]


def test_pruned_nights_are_no_missed_nights(house):
    """Of a job's nights the latest stays, so that the next start knows what was done."""
    house.with_history()
    house.arrive(range(4))
    house.clock.time += DAY
    nightly = house.nightly()
    nightly.look(SCHEDULE)
    decide_all(house.engine, 2)
    nightly.look(SCHEDULE)
    assert prune_runs(house.engine, timedelta(days=1), now=datetime.now(UTC) + 9 * DAY).runs == 1
    house.nightly().look(SCHEDULE)
    assert house.runs() == [(2, house.today(), True)]


def test_other_jobs_and_schedules_keep_their_own_nights(house):
    """A second time of day is another night; another source's summaries are not this one's."""
    afternoon = read_schedule("14:00", "Europe/Berlin")
    house.with_history()
    nightly = house.nightly()
    nightly.look(afternoon)
    house.arrive(range(4))
    house.clock.time += DAY
    nightly.look(afternoon)
    decide_all(house.engine, 2)
    other = Nightly(house.settings, house.engine, Source(images=str(house.films)), house.clock)
    assert (nightly._ended(), other._ended()) == ([2], [])


def test_a_database_that_is_away_ends_nothing(tmp_path, caplog):
    """One sentence, and the loop goes on."""
    engine = make_engine("postgresql://night:secret@127.0.0.1:1/nowhere")
    clock, settings = FakeClock(), NightlySettings(home=tmp_path)
    clock.end = clock.time + timedelta(minutes=5)
    with contextlib.suppress(WorkStopped):
        Nightly(settings, engine, Source(images=str(tmp_path)), clock).run(SCHEDULE)
    assert "the database does not answer; trying again in 2 min" in caplog.text
    assert "secret" not in caplog.text and "127.0.0.1" not in caplog.text
    assert clock.time >= clock.end
