"""A source that goes bad amid a run: the run stops instead of rejecting everything, and goes on once it is mended."""

import json
import shutil
import time

import pytest

from tests.support import recovery_times
from tests.support.notification_servers import webhook
from tests.support.scenario import name_of, write_scans
from tests.support.world import wait_until, write_csv

#: What the tests set CXR_STOP_AFTER to: one batch of the stage's model.
AFTER = 8
BATCH = 8
STOPPED = "SELECT count(*) FROM runs WHERE stopped_at IS NOT NULL AND finished_at IS NULL"


@pytest.fixture
def stage(stage):
    stage.world.env["CXR_STOP_AFTER"] = str(AFTER)
    return stage


class Films:
    """The stage's folder of images, and ways to spoil and to mend it."""

    def __init__(self, stage):
        self.folder = stage.csv.parent / "images"
        self._kept = self.folder.with_name("kept")

    def unmount(self):
        self.folder.rename(self._kept)

    def replace_by_pages(self):
        """What a proxy gives that asks for a password: files of the same names that are no images."""
        pages = self.folder.with_name("pages")
        pages.mkdir()
        for image in self.folder.iterdir():
            (pages / image.name).write_bytes(b"<html>log in</html>")
        self.unmount()
        pages.rename(self.folder)

    def mend(self):
        """As it was, times of the files included."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._kept.rename(self.folder)


@pytest.fixture
def films(stage):
    return Films(stage)


def stops(stage, spoil, fault):
    """Let the fault happen amid the run, while a producer waits for it: gives that producer's last words."""
    make_tables(stage)
    [stage.worker() for _ in range(stage.workers)]
    waiting = stage.world.start("producer.cli", "enqueue", "--csv", str(stage.csv), "--wait")
    log = stage.world.home / f"log-{stage.world.processes.index(waiting)}.txt"
    stage.reach(stage.rng.uniform(0.1, 0.4))
    rejected = count_rejected(stage)
    spoil()
    since = time.monotonic()
    wait_until(lambda: stage.world.rows(STOPPED) == [(1,)], 30, f"a stopped run\n{stage.world.logs()}")
    recovery_times.record(
        f"{fault}: until the run stops", workers=stage.workers, seconds=time.monotonic() - since, stated=10
    )
    assert time.monotonic() - since < 10
    assert waiting.wait(20) == 4, log.read_text()
    comes_to_rest(stage)
    assert stage.pending() > 0
    assert 0 < count_rejected(stage) - rejected <= stage.workers * (AFTER + BATCH), "the stated number"
    return log.read_text()


def make_tables(stage):
    """For a test that looks at them from the start."""
    stage.world.producer("model", "list")


def count_rejected(stage):
    return stage.world.rows("SELECT count(*) FROM outcomes WHERE state = 'rejected'")[0][0]


def count_stops(stage):
    """How often some worker stopped the run."""
    return stage.world.logs().count("run 1 stopped:")


def comes_to_rest(stage):
    """Every message is acknowledged, and nothing more is decided."""

    def at_rest():
        waiting = [key for key in stage.broker.scan_iter("score.*") if stage.broker.llen(key)]
        return not waiting and not stage.broker.hlen("unacked")

    wait_until(at_rest, 20, "an empty queue")
    decided = stage.decided()
    # Three sweeps.
    time.sleep(3)
    assert stage.decided() == decided, "a stopped run was worked on"


WORLDS = [pytest.param("sqlite and embedded", marks=pytest.mark.slow), "postgresql and separate"]


@pytest.mark.parametrize("world", WORLDS, indirect=True)
def test_a_share_that_is_unmounted_stops_the_run_and_resume_scores_all_of_it(stage, films):
    """What was rejected as missing meanwhile is due again in the same run."""
    told = stops(stage, films.unmount, "unmounted share")
    assert "stopped: run 1" in told and "'missing'" in told and "producer resume" in told
    films.mend()
    stage.world.producer("resume")
    stage.recovers("unmounted share: after resume", since=time.monotonic(), stated=5)
    stage.finish()
    stage.check()


def test_a_folder_of_pages_stops_the_run_and_the_same_enqueue_scores_all_of_it(stage, films):
    """It looks at the images again, though size and time are those that it noted when the run was opened."""
    assert "'not_image'" in stops(stage, films.replace_by_pages, "folder of non-images")
    films.mend()
    assert "run 1 resumed" in stage.enqueue().stdout
    stage.recovers("folder of non-images: after enqueue", since=time.monotonic(), stated=5)
    stage.finish()
    stage.check()


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_run_that_is_resumed_before_it_is_mended_stops_again(stage, films):
    """After the stated number, and each time; two who resume at once are as one, or the later one as another."""
    stops(stage, films.unmount, "unmounted share")
    for _ in range(2):
        stopped = count_stops(stage)
        rejected = stage.world.rows("SELECT count(*) FROM outcomes WHERE reason = 'missing'")[0][0]
        both = [stage.world.start("producer.cli", "resume", "--run", "1") for _ in range(2)]
        assert [each.wait(30) for each in both] == [0, 0]
        wait_until(lambda: stage.world.rows(STOPPED) == [(1,)], 30, "another stop")
        comes_to_rest(stage)
        more = stage.world.rows("SELECT count(*) FROM outcomes WHERE reason = 'missing'")[0][0] - rejected
        times = count_stops(stage) - stopped
        assert times in (1, 2)
        assert 0 < more <= times * stage.workers * (AFTER + BATCH)
    films.mend()
    stage.world.producer("resume")
    stage.finish()
    stage.check()


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_another_runs_scans_in_the_same_chunk_go_on(stage, films, tmp_path):
    """Only the run that cannot be read stands still; the sweep made one chunk of both."""
    before = dict(stage.world.env)
    stage.world.env |= {"CXR_CHUNK_SIZE": "1000", "CXR_BROKER_URL": "redis://127.0.0.1:1/0"}
    write_scans(tmp_path / "images", range(200, 220))
    other = write_csv(tmp_path / "other.csv", range(200, 220), name_of=name_of)
    stage.enqueue()
    stage.world.producer("enqueue", "--csv", other)
    stage.world.env = before | {"CXR_CHUNK_SIZE": "1000"}
    films.unmount()
    stage.worker()
    wait_until(lambda: stage.world.rows(STOPPED) == [(1,)], 30, f"a stopped run\n{stage.world.logs()}")
    query = "SELECT scored, pending FROM run_progress WHERE run_id = 2"
    wait_until(lambda: stage.world.rows(query) == [(20, 0)], 30, f"the other run's end\n{stage.world.logs()}")
    comes_to_rest(stage)
    films.mend()
    stage.world.producer("resume", "--run", "1")
    stage.finish()
    stage.check(run=1)


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_one_bad_scan_in_ten_stops_nothing_and_neither_does_a_small_run(stage, films):
    """The first ends with its rejects; so does one of fewer scans than are judged, though all of them are bad."""
    for number in range(0, 90, 10):
        (films.folder / name_of(number)).write_bytes(b"<html>")
    stage.worker()
    assert stage.enqueue("--wait", check=False).returncode == 3
    assert stage.world.rows("SELECT scored, rejected, stopped_at FROM run_progress") == [(87, 12, None)]
    few = stage.world.home.parent / "few"
    write_scans(few / "images", range(AFTER - 1))
    for image in (few / "images").iterdir():
        image.write_bytes(b"<html>")
    csv = write_csv(few / "few.csv", range(AFTER - 1), name_of=name_of)
    assert stage.world.producer("enqueue", "--csv", csv, "--wait", check=False).returncode == 3
    assert stage.world.rows(STOPPED) == [(0,)]


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_run_on_this_machine_alone_stops_and_the_same_command_goes_on(stage, films):
    """Exit 4 with the reason; what a stopped run has can be looked at; then exit 3, for three scans are damaged."""
    make_tables(stage)
    run = stage.world.start("producer.cli", "run", "--csv", str(stage.csv))
    stage.reach(stage.rng.uniform(0.1, 0.4))
    films.unmount()
    assert run.wait(60) == 4
    assert "stopped: run 1: " in stage.world.logs() and "Traceback" not in stage.world.logs()
    assert "stopped 20" in stage.world.producer("status").stdout
    watched = stage.world.producer("status", "--watch", check=False)
    assert (watched.returncode, "producer resume" in watched.stderr) == (4, True)
    assert "could not be scored" in json.loads(stage.world.producer("status", "--json").stdout)["stop_reason"]
    stage.world.producer("report", "--partial")
    films.mend()
    assert stage.world.producer("run", "--csv", stage.csv, check=False).returncode == 3
    run = stage.world.rows("SELECT count(*), max(run_id) FROM run_progress WHERE pending = 0")
    assert run == [(1, 1)]


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_night_that_is_stopped_says_so_and_the_next_goes_on(stage, films):
    """Each with a summary of its own and its exit code."""
    with webhook() as hook:
        stage.world.env |= {"CXR_WEBHOOK_URL": hook.url, "NO_PROXY": "127.0.0.1"}
        make_tables(stage)
        [stage.worker() for _ in range(stage.workers)]
        night = stage.world.start("producer.cli", "nightly", "--now", "--csv", str(stage.csv))
        stage.reach(stage.rng.uniform(0.1, 0.4))
        films.unmount()
        assert night.wait(60) == 4
        comes_to_rest(stage)
        films.mend()
        again = stage.world.producer("nightly", "--now", "--csv", stage.csv, check=False)
        assert again.returncode == 3, again.stderr
        first, second = [json.loads(body) for _, _, body in hook.taken]
    assert "could not be scored" in first["stop_reason"] and first["pending"] > 0
    assert (second["run_id"], second["stop_reason"], second["scored"]) == (1, None, 96)
    stage.check()


def test_a_worker_that_can_score_nothing_quarantines_no_whole_night(stage, tmp_path):
    """What fails for every scan, a driver or a bug, is no scan's fault: the run stops after a few, and says so."""
    stage.world.env |= {"CXR_CHUNK_SIZE": "1", "HASH_SCORER_SECONDS": "0", "HASH_SCORER_BUG": str(tmp_path)}
    stage.enqueue()
    [stage.worker() for _ in range(stage.workers)]
    wait_until(lambda: stage.world.rows(STOPPED) == [(1,)], 90, f"a stopped run\n{stage.world.logs()}")
    comes_to_rest(stage)
    quarantined = stage.world.rows("SELECT count(*) FROM outcomes WHERE state = 'quarantined'")[0][0]
    assert 0 < quarantined <= stage.workers * AFTER + BATCH
    assert stage.pending() > len(stage.quiet.outcomes) / 2
    assert "killed_worker" in stage.world.rows("SELECT stop_reason FROM runs")[0][0]
