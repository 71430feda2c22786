"""Drift of nights, as the nightly service tells of it: summary, log and gauges. Only the clock is a fake."""

import json
import logging
from datetime import UTC, date, datetime, timedelta

import pytest

from db.engine.session import open_database
from db.maintenance.prune_runs import prune_runs
from producer.commands.nightly import _check_reference
from producer.ingest.source import Source
from producer.monitoring.prometheus import FleetCollector
from producer.nightly.loop import NightlyLoop
from producer.nightly.schedule import job_id, parse_schedule
from producer.nightly.settings import NightlySettings
from producer.retry import Clock
from tests.support.nights_ledger import NightlyJob, NightScans, add_night
from tests.support.notification_servers import webhook
from worker.messaging.celery_app import make_app

SCHEDULE = parse_schedule("02:00", "Europe/Berlin")
SOURCE = Source(images="s3://canary-bucket/films")
JOB = NightlyJob(
    job=job_id(SOURCE), schedule=SCHEDULE.name, dataset="canary-films", usual=NightScans(scans=150, reasons=("view",))
)
#: All its films are of one device, which is new.
OTHER = NightScans(scans=150, reasons=("view",), manufacturers=("CANARY Devices",))


class Site:
    """A ledger and a webhook; makes nightly loops that open no night of their own, and settle those that are added."""

    def __init__(self, engine, home, hook):
        self.engine, self.hook = engine, hook
        self.settings = NightlySettings(home=home, webhook_url=hook.url, broker_url="redis://127.0.0.1:1/0")
        self.added = 0

    def add(self, night=None, *, job=JOB):
        self.added += 1
        return add_night(self.engine, job, self.added, night)

    def loop(self, reference=None):
        loop = NightlyLoop(self.settings, self.engine, SOURCE, Clock(), reference)
        loop._last_opened = date.max
        return loop

    def told(self, loop):
        """What the webhook gets of the night that was added last."""
        loop.check(SCHEDULE)
        return json.loads(self.hook.taken[-1][2])

    def gauges(self, loop):
        app = make_app(self.settings, "1a2b3c4d5e6f")
        families = FleetCollector(self.engine, app, last_judged=loop.last_judged).collect()
        drift = (sample for family in families for sample in family.samples if "drift" in sample.name)
        return {
            (sample.name.removeprefix("nightread_drift_"), *sample.labels.values()): sample.value for sample in drift
        }


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    engine = open_database(f"sqlite:///{tmp_path / 'nightread.sqlite'}")
    with webhook() as hook:
        yield Site(engine, tmp_path / "home", hook)
    engine.dispose()


def test_a_night_that_drifted_is_told_as_an_alarm_and_a_like_night_is_not(site, caplog):
    """Summary, log and gauges say so; none of them names the manufacturer that shifted most."""
    caplog.set_level(logging.INFO)
    site.add()
    loop = site.loop()
    first = site.told(loop)
    assert (first["drift_alarm"], first["drift_shift"], first["drift_p_value"]) == (None, None, None)
    assert "no earlier night of this source" in first["drift_not_judged"]
    assert site.gauges(loop) == {}, "no night was judged"
    site.add()
    like = site.told(loop)
    assert (like["drift_alarm"], like["drift_not_judged"], like["drift_reference_scans"]) == (False, None, 150)
    assert like["drift_note"].startswith("Drift: no alarm. ")
    assert site.gauges(loop)["alarm",] == 0
    site.add(OTHER)
    other = site.told(loop)
    assert (other["drift_alarm"], other["drift_p_value"], other["drift_reference_scans"]) == (True, 0.001, 300)
    assert other["drift_shift"].startswith("a manufacturer 100% of scans (reference 0%), ")
    assert f"ALARM: drift: {other['drift_shift']}; run 3, night" in caplog.text
    gauges = site.gauges(loop)
    assert (gauges["alarm",], gauges["scans",], gauges["largest_shift",] > 10) == (1, 150, True)
    assert {finding for name, *finding in gauges if name == "ks" for finding in finding} == set(JOB.findings)
    assert {name for name, *_ in gauges} == {"alarm", "largest_shift", "scans", "ks", "psi"}
    for text in (caplog.text, str(gauges), *(body.decode() for _, _, body in site.hook.taken)):
        assert "canary" not in text.lower()


def test_neither_a_restart_nor_a_night_of_few_scans_silences_an_alarm(site):
    """A new process judges the last nights at its first check, and so does one whose nights another one settles."""
    site.add()
    loop, other = site.loop(), site.loop()
    other.check(SCHEDULE)
    site.add(OTHER)
    assert site.told(loop)["drift_alarm"]
    other.check(SCHEDULE)
    assert site.gauges(other)["alarm",] == 1
    site.add(NightScans(scans=20))
    few = site.told(loop)
    assert (few["drift_alarm"], few["run_id"]) == (None, 3)
    assert few["drift_not_judged"].endswith("a night under 50 is not judged")
    restarted = site.loop()
    restarted.check(SCHEDULE)
    for one in (restarted, loop):
        assert (one.last_judged().run_id, site.gauges(one)["alarm",]) == (2, 1)


def test_nights_are_compared_with_the_run_that_is_named(site):
    """It may be any run, also one of a night that drifted itself."""
    named = site.add(OTHER)
    site.add()
    summary = site.told(site.loop(reference=named))
    assert (summary["drift_alarm"], summary["drift_reference_scans"]) == (True, 150)
    assert f"differs from run {named} (150 scans): a manufacturer" in summary["drift_note"]


def test_a_reference_that_cannot_be_compared_leaves_the_night_unjudged_and_its_summary_sent(site):
    """The model was rotated, or the run pruned, while the service ran."""
    named = site.add()
    newer = NightlyJob(**vars(JOB) | {"model": "newer"})
    site.add(job=newer)
    site.add(job=newer)
    loop = site.loop(reference=named)
    rotated = site.told(loop)
    assert (rotated["drift_alarm"], site.gauges(loop)) == (None, {})
    assert rotated["drift_not_judged"].startswith(f"run {named} is of model densenet; name a run of model newer ")
    assert prune_runs(site.engine, timedelta(days=1), now=datetime.now(UTC) + timedelta(days=9)).runs == 1
    site.add(job=newer)
    assert site.told(site.loop(reference=2))["drift_not_judged"].startswith("there is no run 2 to compare with; ")


@pytest.mark.parametrize(
    ("reference", "model", "sentence"),
    [
        (1, "densenet", None),
        (1, "not yet", None),
        (9, "densenet", "there is no run 9 to compare with; "),
        (1, "newer", "run 1 is of model densenet; name a run of model newer "),
    ],
)
def test_a_wrong_reference_is_warned_of_and_stops_no_night(site, caplog, reference, model, sentence):
    """A restart after the reference was pruned must not end the service. A model may be published later."""
    site.add()
    site.add(job=NightlyJob(**vars(JOB) | {"model": "newer"}))
    _check_reference(site.engine, reference, model)
    warned = [record.getMessage() for record in caplog.records]
    assert warned == [] if sentence is None else sentence in warned[0]
