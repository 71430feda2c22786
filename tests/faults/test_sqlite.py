"""Another program holds SQLite's lock, fills its disk or moves its file: work waits and goes on by itself."""

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import pytest

import db.engine.sqlite
from db.close_run import close_finished_runs
from db.engine.session import open_database
from db.engine.sqlite import trim_wal
from db.ledger.outcomes import record_outcomes
from tests.support.fault_timing import check_recovery, start_run
from tests.support.invariants import check_privacy
from tests.support.ledger import enqueue, ids_of, scored
from tests.support.scenario import descendants
from tests.support.small_disk import fill, limit_files, small_disk
from tests.support.world import wait_until

pytestmark = pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
SUFFIXES = ("", "-wal", "-shm")


def file_of(scenario):
    return scenario.world.home / "nightread.sqlite"


@contextlib.contextmanager
def write_lock(file):
    """Hold a write transaction, as another program might."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA busy_timeout = 10000")
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


def test_workers_wait_for_another_programs_write(scenario):
    """While it holds the lock for 30 s, workers hand their chunks back and log it; then they go on."""
    start_run(scenario)
    with write_lock(file_of(scenario)):
        before = scenario.decided()
        time.sleep(30)
        assert scenario.decided() == before
    assert "(database is locked); chunk returned" in scenario.world.logs()
    check_recovery(scenario, "SQLite locked for 30 s", since=time.monotonic(), stated=10)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_lock_of_more_than_a_minute_ends_a_command_and_no_worker(scenario):
    """`producer enqueue` reports every few seconds what it waits for, and gives up after a minute in one sentence."""
    start_run(scenario)
    with write_lock(file_of(scenario)):
        done = scenario.enqueue("--limit", "3", check=False, timeout=200)
    assert done.returncode == 2
    assert "another program is writing to the database; waited 5 s of at most 60 s" in done.stderr
    assert done.stderr.endswith("error: the database is unavailable (database is locked)\n")
    assert "Traceback" not in done.stderr
    check_recovery(scenario, "SQLite locked for 60 s", since=time.monotonic(), stated=10)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_command_that_waits_for_the_lock_says_so(scenario):
    """`producer cancel` reports after 5 s that it waits for another program, and finally succeeds."""
    scenario.enqueue()
    with write_lock(file_of(scenario)):
        cancel = scenario.world.start("producer.cli", "cancel")
        wait_until(
            lambda: "another program is writing to the database; waited 5 s" in scenario.world.logs(), 90, "a word"
        )
    assert cancel.wait(60) == 0
    assert "run 1 cancelled" in scenario.world.logs()


def test_work_pauses_while_the_disk_is_full_and_then_goes_on(world, workers, request):
    """Database, broker and logs share a disk that is full for 10 s."""
    with small_disk(world.home, 32):
        scenario = request.getfixturevalue("scenario")
        start_run(scenario)
        ballast = fill(world.home)
        before = scenario.decided()
        time.sleep(10)
        assert scenario.decided() < before + 40
        assert scenario.pending() > 0
        ballast.unlink()
        # Chunks that could not be handed back come again after the visibility timeout.
        check_recovery(scenario, "SQLite, disk full for 10 s", since=time.monotonic(), stated=20)
        world.stop()


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_workers_wait_while_no_file_can_grow(scenario):
    """No file of the worker can grow for 8 s, not even its log; then work goes on."""
    worker = start_run(scenario)
    processes = descendants(worker)
    limit_files(processes, 4096)
    before = scenario.decided()
    time.sleep(8)
    assert scenario.decided() <= before + 8
    limit_files(processes, None)
    check_recovery(scenario, "SQLite, files that cannot grow for 8 s", since=time.monotonic(), stated=15)
    assert "(disk I/O error); chunk returned" in scenario.world.logs()
    assert "Traceback" not in scenario.world.logs()


def move_database_away(scenario):
    """Move the database file with its `-wal` and `-shm` files to another folder, and return the folder."""
    aside = scenario.world.home / "aside"
    aside.mkdir()
    for suffix in SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{file_of(scenario)}{suffix}").rename(aside / f"nightread.sqlite{suffix}")
    return aside


def test_a_database_file_that_is_moved_away_loses_no_score(scenario):
    """SQLite would go on writing to the moved file; workers hand chunks back until it is in its place again."""
    start_run(scenario)
    aside = move_database_away(scenario)
    wait_until(lambda: "(the database file is gone); chunk returned" in scenario.world.logs(), what="a word")
    time.sleep(5)
    assert not file_of(scenario).exists(), "somebody made an empty ledger"
    for file in aside.iterdir():
        file.rename(scenario.world.home / file.name)
    check_recovery(scenario, "SQLite file gone for 5 s", since=time.monotonic(), stated=10)


def test_work_continues_in_a_restored_copy(scenario):
    """Workers open an older copy that replaces the file, and score again the scans scored since the copy."""
    start_run(scenario)
    with sqlite3.connect(file_of(scenario)) as source, sqlite3.connect(scenario.world.home / "copy") as copy:
        source.backup(copy)
    source.close()
    copy.close()
    before = scenario.decided()
    wait_until(lambda: scenario.decided() > before, what="a batch after the copy")
    move_database_away(scenario)
    (scenario.world.home / "copy").rename(file_of(scenario))
    assert scenario.decided() <= before
    check_recovery(scenario, "SQLite file replaced by an older copy", since=time.monotonic(), stated=15)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_damaged_database_file_is_reported_and_nothing_is_decided(scenario):
    """Its pages are overwritten: workers log that it is malformed, and commands print one sentence."""
    start_run(scenario)
    with contextlib.closing(sqlite3.connect(file_of(scenario), isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 10000")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = file_of(scenario).stat().st_size
    with file_of(scenario).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    wait_until(lambda: "malformed" in scenario.world.logs(), what="a word of the worker")
    done = scenario.world.producer("status", check=False)
    assert done.returncode == 2
    assert "malformed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr + scenario.world.logs()
    check_privacy(scenario)


def test_a_long_reader_makes_the_wal_file_grow_by_what_is_written_and_no_more(scenario):
    """While a read transaction lasts for the whole run, the `-wal` file holds all that is written."""
    with contextlib.closing(sqlite3.connect(file_of(scenario))) as reader:
        for _ in range(scenario.workers):
            scenario.worker()
        scenario.enqueue()
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM outcomes").fetchone()
        wal = Path(f"{file_of(scenario)}-wal")
        before = wal.stat().st_size
        scenario.finish()
        grown = wal.stat().st_size - before
    scenario.check()
    # A batch of 8 rewrites about twenty pages of 4 KB; real batches of 32 and more share them.
    assert grown / 99 < 40_000, f"{grown / 99:.0f} bytes a scan"


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_overlapping_readers_do_not_make_the_wal_file_grow_for_ever(world, workers, tmp_path, monkeypatch):
    """Overlapping readers never let SQLite restart its `-wal` file, and the sweep truncates it."""
    monkeypatch.setattr(db.engine.sqlite, "_WAL_LIMIT_BYTES", 2**20)
    engine = open_database(f"sqlite:///{tmp_path / 'nightread.sqlite'}")
    wal = tmp_path / "nightread.sqlite-wal"
    with overlapping_readers(tmp_path / "nightread.sqlite"):
        untrimmed = max(write_rounds(engine, tmp_path, wal, trim=False))
        trimmed = write_rounds(engine, tmp_path, wal, trim=True)
    assert untrimmed > 3 * 2**20
    assert min(trimmed[5:]) < 2 * 2**20, trimmed
    engine.dispose()


@contextlib.contextmanager
def overlapping_readers(file):
    """Run two readers, each of which begins before the other ends."""
    done = threading.Event()

    def read():
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as reader:
            while not done.is_set():
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM outcomes").fetchone()
                done.wait(0.3)
                reader.execute("COMMIT")

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.15)
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def write_rounds(engine, folder, wal, *, trim):
    """Open and decide many runs, and return the bytes of the `-wal` file after each."""
    sizes = []
    for _ in range(40):
        run, _ = enqueue(engine, folder, rescore=True)
        with engine.begin() as connection:
            record_outcomes(connection, [scored(outcome) for outcome in ids_of(engine, run)])
        close_finished_runs(engine)
        if trim:
            trim_wal(engine)
        sizes.append(wal.stat().st_size)
    return sizes
