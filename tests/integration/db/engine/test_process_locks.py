"""A lone scan is in one living process's hands, on both databases."""

import subprocess
import sys

import pytest

from db.engine.process_locks import ScanLocks
from tests.support.world import wait_until

HOLD = (
    "import sys, time; from db.engine.process_locks import ScanLocks; from db.engine.session import make_engine\n"
    "with ScanLocks(make_engine(sys.argv[1])).hold(int(sys.argv[2])) as mine:\n"
    "    print(mine, flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def holder(engine):
    """Starts a process that claims an outcome until its input ends: gives it, and what it was told."""
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


def test_a_claim_is_one_process_s_until_it_lets_go(engine, holder):
    """Another process is told so, also the third; other scans are free."""
    scan_locks = ScanLocks(engine)
    process, told = holder(4711)
    assert (told, holder(4711)[1]) == ("True", "False")
    with scan_locks.hold(4711) as mine, scan_locks.hold(4712) as other:
        assert (mine, other) == (False, True)
    process.communicate("")
    with scan_locks.hold(4711) as mine:
        assert mine


def test_a_claim_dies_with_its_process(engine, holder):
    """SIGKILL: there is nobody left to let go. A file's lock goes with the process; PostgreSQL notices in a moment."""
    process, _ = holder(4711)
    process.kill()
    process.wait()
    scan_locks = ScanLocks(engine)

    def is_free():
        with scan_locks.hold(4711) as mine:
            return mine

    if engine.dialect.name == "postgresql":
        wait_until(is_free, seconds=5, what="the claim's end")
    for _ in range(2):
        assert is_free()


def test_a_claim_ends_with_its_block(engine, holder):
    """Also where the work raised."""
    scan_locks = ScanLocks(engine)
    with pytest.raises(ArithmeticError), scan_locks.hold(4711):
        assert holder(4711)[1] == "False"
        raise ArithmeticError
    assert holder(4711)[1] == "True"
