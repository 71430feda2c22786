"""PostgreSQL is unavailable, frozen, refuses or hides whether it committed: workers hand chunks back."""

import contextlib
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.commit_cutter import CommitCutter
from tests.support.fault_timing import check_recovery, start_run
from tests.support.postgres import Postgres
from tests.support.scenario import prepare
from tests.support.small_disk import fill, small_disk
from tests.support.world import hash_artifact, scoring_process, wait_until

pytestmark = pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)

NAME = "nightread"
#: Ends every session of the ledger except the one that runs the statement.
END_SESSIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    f"WHERE datname = '{NAME}' AND pid <> pg_backend_pid()"
)
WAITING_FOR_LOCK = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
#: Ends every session of the ledger except these.
END_OTHER_SESSIONS = (
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{NAME}' AND pid <> ALL(%s)"
)


@pytest.fixture
def postgres():
    """A server that only this test uses and that it may stop."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def small_postgres():
    """A server whose data lie on a small disk that a test can fill; its write-ahead log lies elsewhere."""
    with (
        tempfile.TemporaryDirectory(prefix="disk-") as folder,
        tempfile.TemporaryDirectory(prefix="wal-") as wal,
        small_disk(folder, 128),
    ):
        Path(wal).chmod(0o777)
        server = Postgres(folder, "--waldir", f"{wal}/wal")
        yield server
        server.close()


@pytest.fixture
def new_postgres(request):
    """The URL of the ledger on the server that the test uses."""
    name = "small_postgres" if "small_postgres" in request.fixturenames else "postgres"
    postgres = request.getfixturevalue(name)
    postgres.ask(f"CREATE DATABASE {NAME}")
    return postgres.url(NAME)


def restart_after(scenario, postgres, how, seconds):
    """Stop or kill the server during a run, and start it again after `seconds`.

    Returns:
        `time.monotonic()` when it was back.
    """
    start_run(scenario)
    getattr(postgres, how)()
    assert not postgres.answers
    time.sleep(seconds)
    postgres.start()
    return time.monotonic()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_work_pauses_while_the_database_is_unavailable_and_then_goes_on(scenario, postgres, how):
    """Workers hand chunks back while the server is stopped or killed for 15 s, and then go on."""
    back = restart_after(scenario, postgres, how, 15)
    check_recovery(scenario, f"PostgreSQL away for 15 s ({how})", since=back, stated=10)
    assert "chunk returned" in scenario.world.logs()
    assert "skipped the search for lost work" in scenario.world.logs()


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_minute_without_a_database_loses_nothing(scenario, postgres):
    """Workers outlast a server that is stopped for 60 s."""
    back = restart_after(scenario, postgres, "stop", 60)
    check_recovery(scenario, "PostgreSQL away for 60 s", since=back, stated=10)


def test_workers_wait_for_a_frozen_database(scenario, postgres):
    """The server keeps its connections and answers nothing for 30 s, as on a machine that swaps."""
    start_run(scenario)
    postgres.freeze()
    assert not postgres.answers
    time.sleep(30)
    postgres.thaw()
    check_recovery(scenario, "PostgreSQL frozen for 30 s", since=time.monotonic(), stated=10)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_scoring_process_that_starts_without_a_database_loads_once_it_is_available(scenario, postgres):
    """It ends and is started again with pauses of up to 30 s."""
    worker = start_run(scenario)
    postgres.stop()
    child = scoring_process(worker)
    child.kill()
    wait_until(
        lambda: "database unavailable, so the model is loaded later" in scenario.world.logs(),
        what="a child without a database",
    )
    postgres.start()
    check_recovery(scenario, "PostgreSQL away while a child starts", since=time.monotonic(), stated=40)


def test_repeatedly_terminated_sessions_lose_nothing(scenario, postgres):
    """Sixty sessions are ended at random moments; workers hand uncommitted scans back and score them again."""
    import psycopg

    start_run(scenario, seconds=4 * scenario.workers)
    cut = 0
    with psycopg.connect(postgres.url(NAME), autocommit=True) as other:
        while cut < 60 and other.execute("SELECT 1 FROM outcomes WHERE state = 'pending' LIMIT 1").fetchone():
            cut += other.execute(END_SESSIONS).fetchone()[0]
            time.sleep(scenario.rng.uniform(0, 0.1))
    assert cut >= 60, f"the run ended after {cut} cuts"
    # The stated time includes one batch.
    check_recovery(scenario, "60 sessions cut", since=time.monotonic(), stated=10 + 4 * scenario.workers)


def test_a_commit_whose_answer_is_lost_is_written_once(scenario, postgres):
    """The client commits but only sees a lost connection; SQL then shows that the outcomes were written."""
    direct = scenario.world.env["CXR_DATABASE_URL"]
    scenario.world.env["HASH_SCORER_SECONDS"] = "2"
    scenario.enqueue()
    cutter = CommitCutter(postgres.port, scenario.rng)
    scenario.world.env["CXR_DATABASE_URL"] = postgres.url(NAME, cutter.port)
    for _ in range(scenario.workers):
        scenario.worker()
    scenario.world.env["CXR_DATABASE_URL"] = direct
    scenario.reach(scenario.rng.uniform(0.1, 0.3))
    cutter.share = 0.7
    wait_until(lambda: cutter.cut >= 5 and "chunk returned" in scenario.world.logs(), what="lost answers")
    cutter.share = 0
    check_recovery(scenario, "answers to COMMIT lost", since=time.monotonic(), stated=10)
    cutter.close()


def test_workers_wait_for_a_database_that_is_read_only_for_a_while(scenario, postgres):
    """As in an unfinished failover, the server refuses writes for 10 s, and no scan is blamed."""
    start_run(scenario)
    postgres.ask(f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")
    postgres.ask(END_SESSIONS)
    wait_until(lambda: "ReadOnlySqlTransaction" in scenario.world.logs(), what="a refused write")
    time.sleep(10)
    postgres.ask(f"ALTER DATABASE {NAME} RESET default_transaction_read_only")
    postgres.ask(END_SESSIONS)
    check_recovery(scenario, "PostgreSQL reads only for 10 s", since=time.monotonic(), stated=10)
    assert "Traceback" not in scenario.world.logs()


def test_workers_wait_for_a_database_without_a_free_connection(scenario, postgres):
    """Another program takes every connection for 10 s."""
    import psycopg

    start_run(scenario)
    taken = []
    began = time.monotonic()
    while time.monotonic() < began + 10:
        try:
            taken.append(psycopg.connect(postgres.url(NAME), autocommit=True))
        except psycopg.OperationalError as error:
            assert "too many clients" in str(error)
            # End the workers' sessions, so that they must ask for new ones.
            taken[0].execute(END_OTHER_SESSIONS, [[one.info.backend_pid for one in taken]])
    assert len(taken) > 90
    for connection in taken:
        connection.close()
    check_recovery(scenario, "PostgreSQL without connections for 10 s", since=time.monotonic(), stated=10)
    assert "Traceback" not in scenario.world.logs()


def test_a_deadlock_is_resolved_and_its_chunk_handed_back(scenario, postgres):
    """A session locks every second outcome and, while a worker waits for one, the outcomes that the worker locked."""
    import psycopg

    # The worker's session detects the deadlock and is cancelled before its lock timeout of 3 s; the other waits longer.
    postgres.ask(f"ALTER DATABASE {NAME} SET deadlock_timeout = '2s'")
    start_run(scenario)
    lock = "SELECT 1 FROM outcomes WHERE id = %s FOR UPDATE"
    with psycopg.connect(postgres.url(NAME)) as other:
        other.execute("SET deadlock_timeout = '60s'")
        while "DeadlockDetected" not in scenario.world.logs():
            ids = other.execute("SELECT id FROM outcomes WHERE state = 'pending' ORDER BY id").fetchall()
            assert ids, "no deadlock came about"
            for outcome in ids[1::2]:
                other.execute(lock, outcome)
            wait_until(lambda: postgres.ask(WAITING_FOR_LOCK), what="a worker that waits")
            for outcome in ids[::2]:
                other.execute(lock, outcome)
            other.rollback()
    check_recovery(scenario, "deadlock", since=time.monotonic(), stated=10)
    assert "Traceback" not in scenario.world.logs()


def test_a_serialization_failure_hands_the_chunk_back(scenario, postgres):
    """A database with serializable transactions refuses to write rows that another session has changed meanwhile."""
    import psycopg

    postgres.ask(f"ALTER DATABASE {NAME} SET default_transaction_isolation = 'serializable'")
    start_run(scenario)
    with psycopg.connect(postgres.url(NAME)) as other:
        for _ in range(20):
            other.execute("UPDATE outcomes SET attempts = attempts WHERE state = 'pending'")
            time.sleep(1)
            other.commit()
            if "SerializationFailure" in scenario.world.logs():
                break
    assert "SerializationFailure" in scenario.world.logs()
    check_recovery(scenario, "serialization failure", since=time.monotonic(), stated=10)
    assert "Traceback" not in scenario.world.logs()


@pytest.mark.parametrize(
    "lock",
    ["SELECT 1 FROM outcomes WHERE state = 'pending' FOR UPDATE", "LOCK TABLE outcomes IN ACCESS EXCLUSIVE MODE"],
    ids=["rows", "table"],
)
def test_workers_wait_for_a_long_lock_and_report_it(scenario, postgres, lock):
    """Another session locks the pending rows or the table for 30 s, and workers log that the database is busy."""
    import psycopg

    start_run(scenario)
    with psycopg.connect(postgres.url(NAME)) as other:
        other.execute(lock)
        time.sleep(30)
        assert "LockNotAvailable" in scenario.world.logs(), "nobody said it"
        other.rollback()
    check_recovery(scenario, "PostgreSQL locked for 30 s", since=time.monotonic(), stated=10)
    assert "Traceback" not in scenario.world.logs()


def test_work_pauses_while_the_databases_disk_is_full_and_then_goes_on(small_postgres, scenario):
    """No table can grow for 10 s; the server reports a full disk, and the workers wait."""
    # Every few rows need a new page, otherwise the existing pages would do.
    small_postgres.ask("ALTER TABLE scores SET (fillfactor = 10)", NAME)
    start_run(scenario)
    ballast = fill(small_postgres.folder)
    wait_until(
        lambda: "(DiskFull); chunk returned" in scenario.world.logs(), what="a full disk\n" + scenario.world.logs()
    )
    time.sleep(10)
    ballast.unlink()
    check_recovery(scenario, "PostgreSQL, disk full for 10 s", since=time.monotonic(), stated=10)
    assert "Traceback" not in scenario.world.logs()


def test_an_enqueue_that_loses_its_database_prints_one_sentence(world, postgres, tmp_path):
    """It exits with 2 and writes nothing, during or before its transaction; the same command later enqueues all."""
    import psycopg

    csv = prepare(world, tmp_path)
    world.producer("enqueue", "--csv", csv, "--limit", "3")
    with contextlib.closing(psycopg.connect(postgres.url(NAME))) as other:
        other.execute("LOCK TABLE outcomes IN ACCESS EXCLUSIVE MODE")
        command = world.start("producer.cli", "enqueue", "--csv", str(csv))
        wait_until(lambda: postgres.ask(WAITING_FOR_LOCK), what="an enqueue that waits")
        postgres.stop()
    assert command.wait(30) == 2
    assert "Traceback" not in world.logs()
    assert world.logs().splitlines()[-1].startswith("error: the database ")
    away = world.producer("enqueue", "--csv", csv, check=False)
    assert away.returncode == 2
    assert "the database does not answer" in away.stderr.splitlines()[-1]
    assert "Traceback" not in away.stderr
    postgres.start()
    assert world.rows("SELECT id FROM runs") == [(1,)]
    world.producer("enqueue", "--csv", csv)
    assert world.rows("SELECT expected, pending FROM run_progress WHERE run_id = 2") == [(99, 99)]


@pytest.mark.quick
def test_a_worker_that_starts_without_a_database_prints_one_sentence(world, postgres, tmp_path):
    """It exits with 2, so that a container's restart policy can start it again."""
    hash_artifact(world.home / "models")
    postgres.stop()
    assert world.worker().wait(60) == 2
    assert "Traceback" not in world.logs()
    assert "the database does not answer" in world.logs().splitlines()[-1]


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_commands_that_follow_a_run_wait_for_the_database(scenario, postgres):
    """`enqueue --wait`, `run` and `status --watch` report once each that it is gone and back, and end as usual."""
    start_run(scenario, seconds=4)
    world, csv = scenario.world, str(scenario.csv)
    commands = [("enqueue", "--wait", "--csv", csv), ("status", "--watch"), ("run", "--csv", csv)]
    followers = [world.start("producer.cli", *command) for command in commands]
    logs = [world.home / f"log-{world.processes.index(follower)}.txt" for follower in followers]
    begun = ["run 1 joined", "scans pending", "a worker is loading"]
    wait_until(lambda: all(word in log.read_text() for word, log in zip(begun, logs, strict=True)), 60, "them")
    # A worker that had not loaded yet would exit, and `run` with it.
    wait_until(lambda: "loaded:" in (world.home / "logs" / "run-1.log").read_text(), 60, "the worker of `run`")
    postgres.stop()
    time.sleep(5)
    postgres.start()
    scenario.recovers("PostgreSQL away while commands follow", since=time.monotonic(), stated=10)
    assert [follower.wait(90) for follower in followers] == [3, 3, 3], world.logs()
    for log in logs:
        text = log.read_text()
        assert (text.count("; waiting for it"), text.count("answers again")) == (1, 1), text
        assert "Traceback" not in text
        # The output of a person's own command may name the source; it is not a log.
        log.unlink()
    scenario.check()


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_refused_row_is_logged_as_a_bug_without_its_values(scenario, postgres):
    """PostgreSQL quotes the row that it refuses, but the traceback in the log does not."""
    scenario.world.env["HASH_SCORER_SECONDS"] = "0.2"
    postgres.ask("ALTER TABLE outcomes ADD CONSTRAINT odd CHECK (state <> 'rejected')", NAME)
    scenario.worker()
    scenario.enqueue()
    wait_until(lambda: "CheckViolation" in scenario.world.logs(), what="a refused row\n" + scenario.world.logs())
    postgres.ask("ALTER TABLE outcomes DROP CONSTRAINT odd", NAME)
    scenario.finish()
    assert "Traceback" in scenario.world.logs()
    assert "Failing row" not in scenario.world.logs()
    scenario.check()
