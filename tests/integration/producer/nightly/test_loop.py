"""Nights on both databases: each has one run, whatever dies, runs twice or is away. Only the clock is a fake."""

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
from db.ledger.runs import find_run, left_out_of, progress
from db.ledger.stop_run import stop_run
from db.maintenance.prune_runs import prune_runs
from db.schema.tables import Run
from producer.ingest.source import Source
from producer.nightly.loop import NightlyLoop
from producer.nightly.schedule import parse_schedule
from producer.nightly.settings import NightlySettings
from producer.retry import Clock
from tests.support.ledger import score_all
from tests.support.notification_servers import mail_server, webhook
from tests.support.world import hash_artifact, image_name, write_csv, write_images

SCHEDULE = parse_schedule("02:00", "Europe/Berlin")
DAY = timedelta(days=1)


class FakeClock(Clock):
    """A clock that moves only when waited for or set; waiting raises `WorkStopped` once `end` is reached."""

    def __init__(self):
        super().__init__()
        self.time = SCHEDULE.latest(datetime.now(UTC)).starts_at + timedelta(hours=1)
        self.end = None
        self.waited = []

    def now(self):
        return self.time

    def wait(self, seconds):
        self.waited.append(seconds)
        self.time += timedelta(seconds=seconds)
        if self.end is not None and self.time >= self.end:
            raise WorkStopped("the test is over")


class Site:
    """A source, a ledger and a clock; makes nightly loops that share them."""

    def __init__(self, engine, tmp_path):
        self.engine, self.clock = engine, FakeClock()
        self.home = tmp_path / "canary-home"
        self.images = tmp_path / "canary-images"
        self.csv = tmp_path / "canary-list.csv"
        self.settings = NightlySettings(home=self.home, broker_url="redis://127.0.0.1:1/0")
        hash_artifact(self.home / "models")
        self.arrive(range(3))

    def arrive(self, numbers):
        """Write the images with these numbers, and list exactly these in the CSV."""
        write_images(self.images, [number for number in numbers if not (self.images / image_name(number)).exists()])
        write_csv(self.csv, numbers)

    def nightly(self, **settings):
        source = Source(csv=self.csv, images=str(self.images))
        return NightlyLoop(self.settings.model_copy(update=settings), self.engine, source, self.clock)

    def with_history(self):
        """Open and finish this night's run, as run 1."""
        loop = self.nightly()
        loop._open_run(f"{loop._job} {SCHEDULE.name} {self.today()}")
        score_all(self.engine, 1)
        with self.engine.begin() as connection:
            claim_summary(connection, 1)

    def opened(self, **settings):
        """A nightly loop that has just opened its first run."""
        loop = self.nightly(**settings)
        loop.check(SCHEDULE)
        self.clock.time += DAY
        loop.check(SCHEDULE)
        return loop

    def runs(self):
        with self.engine.connect() as connection:
            rows = connection.execute(select(Run.id, Run.night, Run.summarised_at).order_by(Run.id))
            return [(run, night.rsplit(" ", 1)[-1], at is not None) for run, night, at in rows]

    def today(self):
        return str(SCHEDULE.latest(self.clock.time).day)


@pytest.fixture
def site(engine, tmp_path):
    return Site(engine, tmp_path)


@pytest.fixture
def hook():
    with webhook() as server:
        yield server


def summaries(hook):
    return [json.loads(body) for _, _, body in hook.taken]


def test_a_first_start_has_missed_no_night_and_each_night_has_one_run(site):
    """However often it checks; the second night scores only what is new."""
    loop = site.nightly()
    loop.check(SCHEDULE)
    assert site.runs() == []
    site.clock.time += DAY
    first = site.today()
    loop.check(SCHEDULE)
    score_all(site.engine, 1)
    loop.check(SCHEDULE)
    loop.check(SCHEDULE)
    assert site.runs() == [(1, first, True)]
    site.arrive(range(5))
    site.clock.time += DAY
    loop.check(SCHEDULE)
    loop.check(SCHEDULE)
    assert site.runs() == [(1, first, True), (2, site.today(), False)]
    with site.engine.connect() as connection:
        now = progress(connection, 2)
    assert (now.expected, now.reused, now.pending) == (5, 3, 2)


def test_missed_nights_are_caught_up_once(site):
    """A process that starts after three nights opens one run, of the last night."""
    site.with_history()
    site.clock.time += 3 * DAY
    returned = site.nightly()
    returned.check(SCHEDULE)
    returned.check(SCHEDULE)
    assert [night for _, night, _ in site.runs()][1:] == [site.today()]


def test_the_loop_wakes_when_the_night_starts_and_not_later(site):
    """It waits in short steps, the last one to the second; a stop ends it between two."""
    site.with_history()
    begins = SCHEDULE.next(site.clock.time).starts_at
    site.clock.time = begins - timedelta(minutes=5, seconds=7)
    site.clock.end, waits = begins, len(site.clock.waited)
    with pytest.raises(WorkStopped):
        site.nightly().run(SCHEDULE)
    assert site.clock.time == begins
    assert max(site.clock.waited[waits:]) <= 10
    assert len(site.runs()) == 1
    site.clock.end = begins + timedelta(minutes=1)
    with pytest.raises(WorkStopped):
        site.nightly().run(SCHEDULE)
    assert [night for _, night, _ in site.runs()][1:] == [str(SCHEDULE.latest(begins).day)]


def test_a_second_process_joins_the_run_of_the_first(site):
    """It does so while the run is open, and after it was finished, even if the source has changed since."""
    other = site.nightly()
    other.check(SCHEDULE)
    site.opened()
    site.arrive(range(4))
    other.check(SCHEDULE)
    assert len(site.runs()) == 1
    score_all(site.engine, 1)
    late = site.nightly()
    late._last_opened = SCHEDULE.latest(site.clock.time - DAY).day
    late.check(SCHEDULE)
    assert site.runs() == [(1, site.today(), True)]


def test_a_run_that_is_still_open_the_next_night_is_followed_beside_it(site, hook):
    """The same scans join it, new scans get a run of their own; each run has one summary."""
    loop = site.opened(webhook_url=hook.url)
    site.clock.time += DAY
    loop.check(SCHEDULE)
    second = site.today()
    assert site.runs() == [(1, second, False)], "yesterday's run is tonight's now"
    site.arrive(range(5))
    site.clock.time += DAY
    loop.check(SCHEDULE)
    score_all(site.engine, 2)
    loop.check(SCHEDULE)
    score_all(site.engine, 1)
    loop.check(SCHEDULE)
    assert site.runs() == [(1, second, True), (2, site.today(), True)]
    assert sorted(summary["run_id"] for summary in summaries(hook)) == [1, 2]


def test_a_night_that_joined_yesterdays_run_is_not_missed_after_a_restart(site, hook):
    """The run has finished since: the night gets no second run, and the run no second summary."""
    loop = site.opened(webhook_url=hook.url)
    site.clock.time += DAY
    loop.check(SCHEDULE)
    score_all(site.engine, 1)
    loop.check(SCHEDULE)
    site.nightly(webhook_url=hook.url).check(SCHEDULE)
    assert site.runs() == [(1, site.today(), True)]
    assert [summary["run_id"] for summary in summaries(hook)] == [1]


def test_the_next_start_sends_the_summary_of_a_process_that_died_before_it(site, hook):
    """Report and summary come once."""
    loop = site.opened(webhook_url=hook.url)
    score_all(site.engine, 1)
    del loop
    for _ in range(2):
        site.nightly(webhook_url=hook.url).check(SCHEDULE)
    (summary,) = summaries(hook)
    assert (summary["scored"], summary["night"], summary["cancelled"]) == (3, site.today(), False)
    assert (summary["finding"], summary["positives"], summary["negatives"]) == ("Abnormal", 1, 2)
    assert summary["auroc_low"] is None and summary["interval_note"].startswith("Abnormal has no interval: ")
    assert (site.home / "reports" / "run-1" / "index.html").exists()
    assert site.nightly()._unsettled_runs() == [], "it is settled"


def test_a_summary_is_sent_again_until_a_channel_takes_it(site, hook):
    """Four attempts under one claim, then the claim is released for a later check; one message arrives."""
    loop = site.opened(webhook_url=hook.url)
    score_all(site.engine, 1)
    hook.answers = [503] * 4
    loop.check(SCHEDULE)
    assert (hook.asked, site.runs()) == (4, [(1, site.today(), False)])
    loop.check(SCHEDULE)
    assert hook.asked == 4, "not before a minute has passed"
    site.clock.time += timedelta(minutes=2)
    loop.check(SCHEDULE)
    loop.check(SCHEDULE)
    assert (len(hook.taken), site.runs()) == (1, [(1, site.today(), True)])


def test_a_channel_that_took_the_summary_does_not_get_it_again(site, hook):
    """The other channel is tried a few times, and then given up."""
    with mail_server() as box:
        addresses = {"smtp_url": f"smtp://127.0.0.1:{box.port}", "mail_from": "a@x.example", "mail_to": "b@x.example"}
        loop = site.opened(webhook_url=hook.url, **addresses)
        hook.answers = [503] * 4
        score_all(site.engine, 1)
        loop.check(SCHEDULE)
        assert (hook.asked, hook.taken, len(box.mails)) == (4, [], 1)
        site.clock.time += timedelta(hours=1)
        loop.check(SCHEDULE)
    assert (hook.asked, len(box.mails), site.runs()) == (4, 1, [(1, site.today(), True)])


def test_a_stop_while_a_summary_waits_for_its_next_try_gives_the_claim_back(site, hook):
    """So the next start sends it."""
    loop = site.opened(webhook_url=hook.url)
    hook.answers = [503]
    score_all(site.engine, 1)
    site.clock.end = site.clock.time + timedelta(seconds=1)
    with pytest.raises(WorkStopped):
        loop.check(SCHEDULE)
    assert site.runs() == [(1, site.today(), False)]


def test_a_summary_that_is_a_week_late_is_not_sent(site):
    """A webhook that is repaired after months gets the summaries of the last nights, not all of them."""
    loop = site.opened()
    score_all(site.engine, 1)
    assert loop._unsettled_runs() == [1]
    with site.engine.begin() as connection:
        connection.execute(update(Run).values(finished_at=datetime.now(UTC) - 8 * DAY))
    assert loop._unsettled_runs() == []


def test_of_two_processes_that_claim_a_summary_one_gets_it(site):
    """The second claim fails."""
    site.with_history()
    with site.engine.begin() as connection:
        connection.execute(update(Run).values(summarised_at=None))
    claims = []
    for _ in range(2):
        with site.engine.begin() as connection:
            claims.append(claim_summary(connection, 1))
    assert claims == [True, False]


def test_a_missing_source_is_logged_without_its_name_and_tried_again(site, caplog):
    """It is tried less and less often, until it is back; neither log nor message names file, folder or patient."""
    caplog.set_level(logging.INFO)
    site.with_history()
    away = site.images.rename(site.images.with_name("elsewhere"))
    site.csv.unlink()
    site.clock.time += DAY
    loop = site.nightly()
    tries = []
    for minute in range(40):
        before = len(caplog.records)
        loop.check(SCHEDULE)
        tries += [minute] * (len(caplog.records) > before)
        site.clock.time += timedelta(minutes=1)
    assert tries == [0, 1, 3, 7, 15, 25, 35]
    before = len(caplog.records)
    site.clock.time -= timedelta(minutes=30)
    loop.check(SCHEDULE)
    assert len(caplog.records) > before, "a clock that is set back makes nobody wait"
    site.clock.time += timedelta(minutes=30)
    assert "the source, model or folder was refused" in caplog.text
    assert len(site.runs()) == 1
    shutil.move(away, site.images)
    site.arrive(range(4))
    site.clock.time += timedelta(minutes=10)
    loop.check(SCHEDULE)
    assert len(site.runs()) == 2
    own = [record.getMessage() for record in caplog.records if record.name.startswith("producer")]
    assert not [line for line in own if "canary" in line or image_name(0)[:8] in line]


def test_no_message_holds_a_name(site, hook):
    """No message names path, CSV, dataset or patient."""
    with mail_server() as box:
        addresses = {"smtp_url": f"smtp://127.0.0.1:{box.port}", "mail_from": "a@x.example", "mail_to": "b@x.example"}
        site.images.joinpath(image_name(1)).write_bytes(b"<html>")
        loop = site.opened(webhook_url=hook.url, **addresses)
        score_all(site.engine, 1)
        loop.check(SCHEDULE)
        sent = [body.decode() for _, _, body in hook.taken] + [mail.as_string() for _, mail, _ in box.mails]
    assert len(sent) == 2
    for message in sent:
        assert "canary" not in message and image_name(0)[:8] not in message and ".png" not in message


def test_a_cancelled_night_says_so_and_the_next_picks_its_scans_up(site, hook):
    """Its summary counts them as rejected."""
    loop = site.opened(webhook_url=hook.url)
    cancel_run(site.engine, 1)
    loop.check(SCHEDULE)
    (summary,) = summaries(hook)
    assert (summary["cancelled"], summary["rejected"], summary["scored"]) == (True, {"cancelled": 3}, 0)
    site.clock.time += DAY
    loop.check(SCHEDULE)
    with site.engine.connect() as connection:
        assert progress(connection, 2).pending == 3


def test_a_stopped_night_says_why_once_and_the_next_night_resumes_it(site, hook):
    """A second process in the same night does not resume it. Its end has a summary of its own."""
    loop = site.opened(webhook_url=hook.url)
    with site.engine.begin() as connection:
        stop_run(connection, 1, "too much cannot be scored")
    late = site.nightly(webhook_url=hook.url)
    late._last_opened = SCHEDULE.latest(site.clock.time - DAY).day
    for _ in range(2):
        loop.check(SCHEDULE)
        late.check(SCHEDULE)
    (summary,) = summaries(hook)
    assert (summary["stop_reason"], summary["pending"]) == ("too much cannot be scored", 3)
    site.clock.time += DAY
    loop.check(SCHEDULE)
    with site.engine.connect() as connection:
        assert not find_run(connection, 1).is_stopped
    score_all(site.engine, 1)
    loop.check(SCHEDULE)
    assert [(told["run_id"], told["stop_reason"]) for told in summaries(hook)][1:] == [(1, None)]
    assert site.runs() == [(1, site.today(), True)]


def test_a_summary_says_what_is_new_tonight(site, hook):
    """The second night has a new scan and a new failure beside those of the first; the third has nothing new."""
    site.images.joinpath(image_name(2)).unlink()
    loop = site.opened(webhook_url=hook.url)
    score_all(site.engine, 1)
    loop.check(SCHEDULE)
    site.arrive(range(5))
    site.images.joinpath(image_name(2)).unlink()
    site.images.joinpath(image_name(4)).unlink()
    for run_id in (2, 3):
        site.clock.time += DAY
        loop.check(SCHEDULE)
        score_all(site.engine, run_id)
        loop.check(SCHEDULE)
    keys = ("new_scans", "scored_tonight", "rejected_tonight", "rejected")
    assert [tuple(summary[key] for key in keys) for summary in summaries(hook)] == [
        (3, 2, {"missing": 1}, {"missing": 1}),
        (2, 1, {"missing": 1}, {"missing": 2}),
        (0, 0, {}, {"missing": 2}),
    ]


def test_a_changed_scan_is_scored_tonight_but_not_new(site, hook):
    """Its earlier outcome says so."""
    site.with_history()
    site.images.joinpath(image_name(0)).write_bytes(b"other bytes")
    site.clock.time += DAY
    loop = site.nightly(webhook_url=hook.url)
    loop.check(SCHEDULE)
    score_all(site.engine, 2)
    loop.check(SCHEDULE)
    (summary,) = summaries(hook)
    assert (summary["new_scans"], summary["scored_tonight"]) == (0, 1)


def test_a_summary_counts_what_was_left_out_even_if_another_process_sends_it(site, hook):
    """By reason, without names; a run of an older version does not know it."""
    site.images.joinpath("canary notes.txt").write_text("x")
    site.images.joinpath("canary").symlink_to(site.home)
    folder = NightlyLoop(site.settings, site.engine, Source(images=str(site.images)), site.clock)
    folder._open_run(f"{folder._job} {SCHEDULE.name} {site.today()}")
    score_all(site.engine, 1)
    settings = site.settings.model_copy(update={"webhook_url": hook.url})
    other = NightlyLoop(settings, site.engine, Source(images=str(site.images)), site.clock)
    other.check(SCHEDULE)
    with site.engine.begin() as connection:
        connection.execute(update(Run).values(options={}, summarised_at=None))
    other.check(SCHEDULE)
    first, second = summaries(hook)
    assert (first["left_out"], second["left_out"]) == ({"text": 1, "symlinked_folder": 1}, None)


def test_a_run_with_left_out_files_is_still_joined(site):
    """What was left out is no part of the run's identity."""
    site.images.joinpath("notes.txt").write_text("x")
    source = Source(images=str(site.images))
    loop = NightlyLoop(site.settings, site.engine, source, site.clock)
    for night in ("2026-11-25", "2026-11-26"):
        loop._open_run(f"{loop._job} {SCHEDULE.name} {night}")
        site.images.joinpath(f"{night}.txt").write_text("x")
    assert [run for run, _, _ in site.runs()] == [1]
    with site.engine.connect() as connection:
        assert left_out_of(connection, 1) == {"text": 2}


def test_pruned_nights_are_not_missed_nights(site):
    """Pruning keeps the latest night of a job, so the next start knows what was done."""
    site.with_history()
    site.arrive(range(4))
    site.clock.time += DAY
    loop = site.nightly()
    loop.check(SCHEDULE)
    score_all(site.engine, 2)
    loop.check(SCHEDULE)
    assert prune_runs(site.engine, timedelta(days=1), now=datetime.now(UTC) + 9 * DAY).runs == 1
    site.nightly().check(SCHEDULE)
    assert site.runs() == [(2, site.today(), True)]


def test_other_jobs_and_schedules_keep_their_own_nights(site):
    """A second time of day has nights of its own, and another source does not send this one's summaries."""
    afternoon = parse_schedule("14:00", "Europe/Berlin")
    site.with_history()
    loop = site.nightly()
    loop.check(afternoon)
    site.arrive(range(4))
    site.clock.time += DAY
    loop.check(afternoon)
    score_all(site.engine, 2)
    other = NightlyLoop(site.settings, site.engine, Source(images=str(site.images)), site.clock)
    assert (loop._unsettled_runs(), other._unsettled_runs()) == ([2], [])


def test_the_loop_survives_a_database_that_is_away(tmp_path, caplog):
    """It logs one sentence and goes on."""
    engine = make_engine("postgresql://night:secret@127.0.0.1:1/nowhere")
    clock, settings = FakeClock(), NightlySettings(home=tmp_path)
    clock.end = clock.time + timedelta(minutes=5)
    with contextlib.suppress(WorkStopped):
        NightlyLoop(settings, engine, Source(images=str(tmp_path)), clock).run(SCHEDULE)
    assert "the database does not answer; trying again in 2 min" in caplog.text
    assert "secret" not in caplog.text and "127.0.0.1" not in caplog.text
    assert clock.time >= clock.end
