"""A source that goes bad amid a run: the run stops instead of rejecting everything, and goes on once it is mended."""

import shutil
import time

import figures
import pytest
from world import wait_until

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
    stage.start()
    waiting = stage.world.start("producer.cli", "enqueue", "--csv", str(stage.csv), "--wait")
    log = stage.world.home / f"log-{stage.world.processes.index(waiting)}.txt"
    wait_until(lambda: "joined" in log.read_text(), 30, "a producer that waits")
    rejected = count_rejected(stage)
    spoil()
    since = time.monotonic()
    wait_until(lambda: stage.world.rows(STOPPED) == [(1,)], 30, f"a stopped run\n{stage.world.logs()}")
    figures.note(f"{fault}: until the run stops", workers=stage.workers, seconds=time.monotonic() - since, stated=10)
    assert time.monotonic() - since < 10
    assert waiting.wait(20) == 4, log.read_text()
    comes_to_rest(stage)
    assert stage.pending() > 0
    assert 0 < count_rejected(stage) - rejected <= stage.workers * (AFTER + BATCH), "the stated number"
    return log.read_text()


def count_rejected(stage):
    return stage.world.rows("SELECT count(*) FROM outcomes WHERE state = 'rejected'")[0][0]


def comes_to_rest(stage):
    """Every message is acknowledged, and nothing more is decided."""
    queue_is_empty = lambda: not [key for key in stage.broker.scan_iter("score.*") if stage.broker.llen(key)]  # noqa: E731
    wait_until(lambda: queue_is_empty() and not stage.broker.hlen("unacked"), 20, "an empty queue")
    decided = stage.decided()
    # Three sweeps.
    time.sleep(3)
    assert stage.decided() == decided, "a stopped run was worked on"


@pytest.mark.parametrize("world", [pytest.param("sqlite and embedded", marks=pytest.mark.short)], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_share_that_is_unmounted_stops_the_run_and_resume_scores_all_of_it(stage, films):
    _unmounted(stage, films)


def _unmounted(stage, films):
    told = stops(stage, films.unmount, "unmounted share")
    assert "stopped: run 1" in told and "missing" in told and "producer resume" in told
    films.mend()
    stage.world.producer("resume")
    stage.recovers("unmounted share: resumed", since=time.monotonic(), stated=5)
    stage.finish()
    stage.check()
