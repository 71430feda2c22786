"""The embedded broker is killed, loses its owner, has a damaged file or a full disk."""

import contextlib
import subprocess
import time

import psutil
import pytest

from tests.support.scenario import descendants
from tests.support.world import wait_until

pytestmark = pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
peers = pytest.mark.parametrize("workers", [2, 3], ids=["1 peer", "2 peers"], indirect=True)


@pytest.fixture(autouse=True)
def _slow_scoring(scenario):
    # On a busy machine too, enough of the queue must be left when the fault happens.
    scenario.world.env["HASH_SCORER_SECONDS"] = "1.4"


def server_of(worker):
    """The broker process under a supervisor, or None."""
    for process in descendants(worker):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "valkey" in process.name():
                return process
    return None


def find_owner(scenario):
    """The supervisor that owns the broker, and the broker."""
    found = []
    alive = [worker for worker in scenario.running if worker.poll() is None]
    wait_until(lambda: found.extend((w, s) for w in alive if (s := server_of(w)) is not None) or found, 30, "an owner")
    return found[0]


def newest_file(scenario):
    """The append-only file that the next server reads last."""
    return max(scenario.world.home.glob("broker/appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)


def wait_for_end(process):
    """Wait until the process has ended, and return `time.monotonic()`."""
    # Its parent may be suspended and leave it a zombie.
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 20, "its end")
    return time.monotonic()


def test_a_killed_server_is_started_again_by_its_owner(scenario):
    """After SIGKILL of the server alone, its file brings the queue back."""
    scenario.start()
    lost = scenario.in_hand_and_next()
    worker, server = find_owner(scenario)
    server.kill()
    since = wait_for_end(server)
    scenario.recovers("embedded broker killed", since=since, stated=20, lost=lost)
    assert server_of(worker).pid != server.pid
    scenario.finish()
    scenario.check()


@peers
def test_a_peer_takes_over_the_broker_of_a_killed_supervisor(scenario):
    """The server dies with its owner, and another supervisor starts a server from the same file."""
    scenario.start()
    lost = scenario.in_hand_and_next()
    worker, server = find_owner(scenario)
    worker.kill()
    wait_for_end(server)
    since = time.monotonic()
    scenario.recovers("owner of the embedded broker killed", since=since, stated=25, lost=lost)
    successor, _ = find_owner(scenario)
    assert successor is not worker
    scenario.finish()
    scenario.check()


def test_scans_enqueued_while_the_server_is_down_are_sent_when_it_is_back(scenario):
    """`enqueue` exits with 0 and says that the work waits in SQL."""
    for _ in range(scenario.workers):
        scenario.worker()
    wait_until(lambda: scenario.world.logs().count("loaded:") == scenario.workers, 60, "loaded models")
    worker, server = find_owner(scenario)
    # Suspended, the owner cannot start the server again.
    psutil.Process(worker.pid).suspend()
    server.kill()
    wait_for_end(server)
    said = scenario.enqueue().stdout
    assert "wait for 'worker start'" in said
    psutil.Process(worker.pid).resume()
    scenario.recovers("enqueued while the embedded broker is down", since=time.monotonic(), stated=25)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("workers", [1], ids=["1 worker"], indirect=True)
@pytest.mark.parametrize("damage", ["cut short", "garbage at its end", "garbage within"])
def test_a_damaged_broker_file_costs_no_scan(scenario, damage):
    """A truncated file is read up to its end and any other damaged file is set aside; SQL holds the work."""
    scenario.start()
    lost = scenario.held_by_somebody()
    worker, server = find_owner(scenario)
    psutil.Process(worker.pid).kill()
    wait_for_end(server)
    path = newest_file(scenario)
    content = path.read_bytes()
    where = scenario.rng.randrange(len(content) // 2, len(content) - 20)
    garbage = scenario.rng.randbytes(20)
    path.write_bytes(
        {
            "cut short": content[:where],
            "garbage at its end": content + garbage,
            "garbage within": content[:where] + garbage + content[where + 20 :],
        }[damage]
    )
    assert path.read_bytes() != content
    assert scenario.pending() > 0
    since = time.monotonic()
    scenario.worker()
    scenario.recovers(f"embedded broker's file damaged, {damage}", since=since, stated=30, lost=lost)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("workers", [1], ids=["1 worker"], indirect=True)
def test_workers_wait_while_the_disk_of_the_brokers_file_is_full(scenario):
    """The server refuses every write, and the work goes on once the disk has room."""
    folder = scenario.world.home / "broker"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("not allowed to mount a small disk")
    try:
        worker = scenario.start()
        lost = [*scenario.held_by_somebody(), *scenario.queued()]
        filler = folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"0" * 512)
        client = scenario.broker
        wait_until(lambda: client.info("persistence")["aof_last_write_status"] == "err", 30, "a refused write")
        time.sleep(scenario.rng.uniform(1, 8))
        assert worker.poll() is None
        assert scenario.pending() > 0
        filler.unlink()
        scenario.recovers("no room for the embedded broker's file", since=time.monotonic(), stated=40, lost=lost)
        scenario.finish()
        scenario.check()
    finally:
        scenario.world.stop()
        subprocess.run(["umount", "-l", folder], check=True)
