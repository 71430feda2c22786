"""One living process at a time holds the lock of a scan, on both databases and through PgBouncer."""

import subprocess
import sys

import pytest

from db.engine.process_locks import ScanLocks
from db.engine.session import make_engine, upgrade
from tests.support.world import wait_until

HOLD = (
    "import sys, time; from db.engine.process_locks import ScanLocks; from db.engine.session import make_engine\n"
    "with ScanLocks(make_engine(sys.argv[1])).hold(int(sys.argv[2])) as mine:\n"
    "    print(mine, flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture(params=["sqlite", "postgresql", "pgbouncer"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nightread.sqlite'}"
    return request.getfixturevalue("new_postgres" if request.param == "postgresql" else "pooled_postgres")


@pytest.fixture
def engine(database_url):
    engine = make_engine(database_url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def holder(engine):
    """Starts a process that locks an outcome until its input ends; returns it and whether it got the lock."""
    running = []

    def start(outcome_id):
        command = [sys.executable, "-c", HOLD, engine.url.render_as_string(hide_password=False), str(outcome_id)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_one_process_holds_a_lock_until_it_releases_it(engine, holder):
    """A second and a third process do not get it; other scans are free."""
    scan_locks = ScanLocks(engine)
    process, told = holder(4711)
    assert (told, holder(4711)[1]) == ("True", "False")
    with scan_locks.hold(4711) as mine, scan_locks.hold(4712) as other:
        assert (mine, other) == (False, True)
    process.communicate("")
    with scan_locks.hold(4711) as mine:
        assert mine


def test_a_lock_ends_with_its_process(engine, holder):
    """After SIGKILL the kernel releases a file's lock at once; PostgreSQL notices within a moment."""
    process, _ = holder(4711)
    process.kill()
    process.wait()
    scan_locks = ScanLocks(engine)

    def is_free():
        with scan_locks.hold(4711) as mine:
            return mine

    if engine.dialect.name == "postgresql":
        wait_until(is_free, seconds=5, what="the lock's release")
    for _ in range(2):
        assert is_free()


def test_a_lock_ends_with_its_block(engine, holder):
    """It ends even if the block raises."""
    scan_locks = ScanLocks(engine)
    with pytest.raises(ArithmeticError), scan_locks.hold(4711):
        assert holder(4711)[1] == "False"
        raise ArithmeticError
    assert holder(4711)[1] == "True"
