"""A source breaks during a run: the run stops instead of rejecting every scan, and goes on after the repair."""

import json
import shutil
import time

import pytest

from tests.support import recovery_times
from tests.support.notification_servers import webhook
from tests.support.scenario import name_of, write_scans
from tests.support.world import wait_until, write_csv

#: The tests' CXR_STOP_AFTER, in scans: one batch of the scenario's model.
STOP_AFTER = 8
BATCH = 8
STOPPED = "SELECT count(*) FROM runs WHERE stopped_at IS NOT NULL AND finished_at IS NULL"


@pytest.fixture
def scenario(scenario):
    scenario.world.env["CXR_STOP_AFTER"] = str(STOP_AFTER)
    return scenario


class ImageFolder:
    """The scenario's folder of images, which a test can break and repair."""

    def __init__(self, scenario):
        self.folder = scenario.csv.parent / "images"
        self._backup = self.folder.with_name("kept")

    def unmount(self):
        self.folder.rename(self._backup)

    def replace_by_pages(self):
        """Replace the images by login pages of the same names, as a proxy that asks for a password does."""
        pages = self.folder.with_name("pages")
        pages.mkdir()
        for image in self.folder.iterdir():
            (pages / image.name).write_bytes(b"<html>log in</html>")
        self.unmount()
        pages.rename(self.folder)

    def repair(self):
        """Restore the folder, with the times of its files."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._backup.rename(self.folder)


@pytest.fixture
def image_folder(scenario):
    return ImageFolder(scenario)


def run_until_stopped(scenario, break_source, fault):
    """Break the source during a run that a producer waits for, and return what that producer printed."""
    create_tables(scenario)
    [scenario.worker() for _ in range(scenario.workers)]
    waiting = scenario.world.start("producer.cli", "enqueue", "--csv", str(scenario.csv), "--wait")
    log = scenario.world.home / f"log-{scenario.world.processes.index(waiting)}.txt"
    scenario.reach(scenario.rng.uniform(0.1, 0.4))
    rejected = count_rejected(scenario)
    break_source()
    since = time.monotonic()
    wait_until(lambda: scenario.world.rows(STOPPED) == [(1,)], 30, f"a stopped run\n{scenario.world.logs()}")
    recovery_times.record(
        f"{fault}: until the run stops", workers=scenario.workers, seconds=time.monotonic() - since, stated=10
    )
    assert time.monotonic() - since < 10
    assert waiting.wait(20) == 4, log.read_text()
    check_at_rest(scenario)
    assert scenario.pending() > 0
    assert 0 < count_rejected(scenario) - rejected <= scenario.workers * (STOP_AFTER + BATCH), "the stated number"
    return log.read_text()


def create_tables(scenario):
    """Create the tables for a test that reads them from the start."""
    scenario.world.producer("model", "list")


def count_rejected(scenario):
    return scenario.world.rows("SELECT count(*) FROM outcomes WHERE state = 'rejected'")[0][0]


def count_stops(scenario):
    """How often a worker stopped the run."""
    return scenario.world.logs().count("run 1 stopped:")


def check_at_rest(scenario):
    """Check that every message is acknowledged and that nothing more is decided."""

    def at_rest():
        waiting = [key for key in scenario.broker.scan_iter("score.*") if scenario.broker.llen(key)]
        return not waiting and not scenario.broker.hlen(scenario.unacked)

    wait_until(at_rest, 20, "an empty queue")
    decided = scenario.decided()
    # Three sweeps.
    time.sleep(3)
    assert scenario.decided() == decided, "a stopped run was worked on"


def test_an_unmounted_share_stops_the_run_and_resume_scores_all_of_it(scenario, image_folder):
    """Scans that were rejected as missing meanwhile are scored in the same run."""
    told = run_until_stopped(scenario, image_folder.unmount, "unmounted share")
    assert "stopped: run 1" in told and "'missing'" in told and "producer resume" in told
    image_folder.repair()
    scenario.world.producer("resume")
    scenario.recovers("unmounted share: after resume", since=time.monotonic(), stated=5)
    scenario.finish()
    scenario.check()


def test_a_folder_of_login_pages_stops_the_run_and_the_same_enqueue_scores_all_of_it(scenario, image_folder):
    """The pages are rejected as changed, because they are not the bytes for which the run was opened."""
    assert "'changed'" in run_until_stopped(scenario, image_folder.replace_by_pages, "folder of non-images")
    image_folder.repair()
    assert "run 1 resumed" in scenario.enqueue().stdout
    scenario.recovers("folder of non-images: after enqueue", since=time.monotonic(), stated=5)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_run_resumed_before_its_source_is_repaired_stops_again(scenario, image_folder):
    """Each resume stops after the stated number of scans; two at once count as one resume or as two."""
    run_until_stopped(scenario, image_folder.unmount, "unmounted share")
    for _ in range(2):
        stopped = count_stops(scenario)
        rejected = scenario.world.rows("SELECT count(*) FROM outcomes WHERE reason = 'missing'")[0][0]
        both = [scenario.world.start("producer.cli", "resume", "--run", "1") for _ in range(2)]
        assert [each.wait(30) for each in both] == [0, 0]
        wait_until(lambda: scenario.world.rows(STOPPED) == [(1,)], 30, "another stop")
        check_at_rest(scenario)
        more = scenario.world.rows("SELECT count(*) FROM outcomes WHERE reason = 'missing'")[0][0] - rejected
        times = count_stops(scenario) - stopped
        assert times in (1, 2)
        assert 0 < more <= times * scenario.workers * (STOP_AFTER + BATCH)
    image_folder.repair()
    scenario.world.producer("resume")
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_another_runs_scans_in_the_same_chunk_are_scored(scenario, image_folder, tmp_path):
    """Only the unreadable run stops, although the sweep put both runs' scans into one chunk."""
    before = dict(scenario.world.env)
    scenario.world.env |= {"CXR_CHUNK_SIZE": "1000", "CXR_BROKER_URL": "redis://127.0.0.1:1/0"}
    write_scans(tmp_path / "images", range(200, 220))
    other = write_csv(tmp_path / "other.csv", range(200, 220), name_of=name_of)
    scenario.enqueue()
    scenario.world.producer("enqueue", "--csv", other)
    scenario.world.env = before | {"CXR_CHUNK_SIZE": "1000"}
    image_folder.unmount()
    scenario.worker()
    wait_until(lambda: scenario.world.rows(STOPPED) == [(1,)], 30, f"a stopped run\n{scenario.world.logs()}")
    query = "SELECT scored, pending FROM run_progress WHERE run_id = 2"
    wait_until(lambda: scenario.world.rows(query) == [(20, 0)], 30, f"the other run's end\n{scenario.world.logs()}")
    check_at_rest(scenario)
    image_folder.repair()
    scenario.world.producer("resume", "--run", "1")
    scenario.finish()
    scenario.check(run=1)


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_one_bad_scan_in_ten_stops_nothing_and_neither_does_a_small_run(scenario, image_folder):
    """A run ends with its rejects if one scan in ten is bad, or if all are bad but fewer than the window."""
    for number in range(0, 90, 10):
        (image_folder.folder / name_of(number)).write_bytes(b"<html>")
    scenario.worker()
    assert scenario.enqueue("--wait", check=False).returncode == 3
    assert scenario.world.rows("SELECT scored, rejected, stopped_at FROM run_progress") == [(87, 12, None)]
    few = scenario.world.home.parent / "few"
    write_scans(few / "images", range(STOP_AFTER - 1))
    for image in (few / "images").iterdir():
        image.write_bytes(b"<html>")
    csv = write_csv(few / "few.csv", range(STOP_AFTER - 1), name_of=name_of)
    assert scenario.world.producer("enqueue", "--csv", csv, "--wait", check=False).returncode == 3
    assert scenario.world.rows(STOPPED) == [(0,)]


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_run_on_this_machine_alone_stops_and_the_same_command_goes_on(scenario, image_folder):
    """It exits with 4 and the reason, its results can be read, and later it exits with 3 for three damaged scans."""
    create_tables(scenario)
    run = scenario.world.start("producer.cli", "run", "--csv", str(scenario.csv))
    scenario.reach(scenario.rng.uniform(0.1, 0.4))
    image_folder.unmount()
    assert run.wait(60) == 4
    assert "stopped: run 1: " in scenario.world.logs() and "Traceback" not in scenario.world.logs()
    assert "stopped 20" in scenario.world.producer("status").stdout
    watched = scenario.world.producer("status", "--watch", check=False)
    assert (watched.returncode, "producer resume" in watched.stderr) == (4, True)
    assert "could not be scored" in json.loads(scenario.world.producer("status", "--json").stdout)["stop_reason"]
    scenario.world.producer("report", "--partial")
    image_folder.repair()
    assert scenario.world.producer("run", "--csv", scenario.csv, check=False).returncode == 3
    run = scenario.world.rows("SELECT count(*), max(run_id) FROM run_progress WHERE pending = 0")
    assert run == [(1, 1)]


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_stopped_night_reports_it_and_the_next_night_goes_on(scenario, image_folder):
    """Each night sends its own summary and has its own exit code."""
    with webhook() as hook:
        scenario.world.env |= {"CXR_WEBHOOK_URL": hook.url, "NO_PROXY": "127.0.0.1"}
        create_tables(scenario)
        [scenario.worker() for _ in range(scenario.workers)]
        night = scenario.world.start("producer.cli", "nightly", "--now", "--csv", str(scenario.csv))
        scenario.reach(scenario.rng.uniform(0.1, 0.4))
        image_folder.unmount()
        assert night.wait(60) == 4
        check_at_rest(scenario)
        image_folder.repair()
        again = scenario.world.producer("nightly", "--now", "--csv", scenario.csv, check=False)
        assert again.returncode == 3, again.stderr
        first, second = [json.loads(body) for _, _, body in hook.taken]
    assert "could not be scored" in first["stop_reason"] and first["pending"] > 0
    assert (second["run_id"], second["stop_reason"], second["scored"]) == (1, None, 96)
    scenario.check()


def test_a_worker_that_can_score_nothing_does_not_quarantine_a_whole_night(scenario, tmp_path):
    """A fault of the driver or a bug fails every scan: the run stops after a few and gives the reason."""
    scenario.world.env |= {"CXR_CHUNK_SIZE": "1", "HASH_SCORER_SECONDS": "0", "HASH_SCORER_BUG": str(tmp_path)}
    scenario.enqueue()
    [scenario.worker() for _ in range(scenario.workers)]
    wait_until(lambda: scenario.world.rows(STOPPED) == [(1,)], 90, f"a stopped run\n{scenario.world.logs()}")
    check_at_rest(scenario)
    quarantined = scenario.world.rows("SELECT count(*) FROM outcomes WHERE state = 'quarantined'")[0][0]
    assert 0 < quarantined <= scenario.workers * STOP_AFTER + BATCH
    assert scenario.pending() > len(scenario.quiet.outcomes) / 2
    assert "killed_worker" in scenario.world.rows("SELECT stop_reason FROM runs")[0][0]
