"""No command shows a password in its output, a log, a metric or a command line, even if it fails."""

import urllib.request

import psutil
import pytest

from tests.support.command_server import CommandServer
from tests.support.valkey import Valkey
from tests.support.world import World, free_port, hash_artifact, image_name, wait_until, write_csv, write_images

CANARY = "canary-hunter2"
#: An address where nothing listens.
NOWHERE = "127.0.0.1:1"
CHANNELS = {
    "CXR_WEBHOOK_URL": f"http://{NOWHERE}/{CANARY}",
    "CXR_SMTP_URL": f"smtp://nightly:{CANARY}@{NOWHERE}",
    "CXR_MAIL_FROM": "nightread@example.org",
    "CXR_MAIL_TO": "reader@example.org",
}
STORE = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AWS_SESSION_TOKEN": CANARY,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL_S3": f"http://{NOWHERE}",
}
UNAVAILABLE_DATABASE = f"postgresql://scorer:{CANARY}@{NOWHERE}/nightread"
COMMANDS = {
    "enqueue": ("producer", "enqueue", "--csv", "CSV"),
    "enqueue from a store": ("producer", "enqueue", "--images", "s3://bucket/scans"),
    "nightly --now": ("producer", "nightly", "--csv", "CSV", "--now"),
    "status": ("producer", "status"),
    "status --json": ("producer", "status", "--json"),
    "resume": ("producer", "resume"),
    "cancel": ("producer", "cancel"),
    "failures": ("producer", "failures"),
    "report": ("producer", "report", "--partial"),
    "export": ("producer", "export"),
    "labels": ("producer", "labels", "--csv", "CSV", "--name", "more"),
    "forget": ("producer", "forget", "--patient", "999", "--yes"),
    "prune": ("producer", "prune", "--older-than", "3"),
    "model list": ("producer", "model", "list"),
    "model activate": ("producer", "model", "activate", "hash"),
    "model accept-export": ("producer", "model", "accept-export", "hash"),
    "worker check": ("worker", "check"),
    "worker health": ("worker", "health"),
    "trainer export": ("trainer", "export", "--model", "hash", "--csv", "CSV"),
    "db upgrade": ("db", "upgrade"),
    "db grant-read": ("db", "grant-read", "reader"),
}
UNAVAILABLE_BROKER = {"CXR_BROKER_URL": f"redis://:{CANARY}@{NOWHERE}/0"}
PASSWORD_IN_QUERY = {"CXR_DATABASE_URL": f"postgresql://u@{NOWHERE}/d?password={CANARY}&sslpassword={CANARY}"}
CASES = [
    *((name, {"CXR_DATABASE_URL": UNAVAILABLE_DATABASE, **UNAVAILABLE_BROKER}) for name in COMMANDS),
    *((name, PASSWORD_IN_QUERY) for name in ("status", "worker check", "db upgrade", "db grant-read")),
    *(
        (name, UNAVAILABLE_BROKER)
        for name in ("enqueue", "nightly --now", "status", "status --json", "resume", "cancel")
    ),
]
#: Settings that are refused before any connection is opened; one command stands for all.
MISTYPED = [
    *({"CXR_DATABASE_URL": f"{start}{CANARY}{end}"} for start, end in (
        ("postgresql://u:", "@h:port/d"), ("postgresql://u:", "@[h/d"), ("", ""), ("mysql://u:", "@h/d"), ("", "://h/d"),
        ("postgresql://u:not@", "@h/d"), ("postgresql://u:p@h/d\n", ""), ("postgresql://u:p@h/d?nosuch=", ""),
    )),
    *({"CXR_BROKER_URL": f"{start}{CANARY}{end}"} for start, end in (
        ("amqp://:", "@h"), ("redis://:", "@h:x"), ("", ""), ("redis://h/0?password=", ""), ("sentinel://:", "@h"),
    )),
    {"CXR_WEBHOOK_URL": f"https://u:{CANARY}@h/"},
    {"CXR_WEBHOOK_URL": CANARY},
    {"CXR_SMTP_URL": f"http://u:{CANARY}@h"},
    {"CXR_CHUNK_SIZE": CANARY},
    {"AWS_ENDPOINT_URL_S3": f"u:{CANARY}@h", "CXR_MODEL_DIR": "s3://models/x"},
    {"AWS_ENDPOINT_URL_S3": f"http://u:{CANARY}@{NOWHERE}", "CXR_MODEL_DIR": "s3://models/x"},
]  # fmt: skip


@pytest.fixture(scope="module")
def commands():
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a model and a CSV with its images."""
    home = tmp_path_factory.mktemp("home")
    hash_artifact(home / "models")
    write_images(home / "scans" / "images", range(4))
    write_csv(home / "scans" / "labels.csv", range(4))
    return home


@pytest.fixture
def run_command(commands, home):
    def run_command(argv, **env):
        known = {"CXR_HOME": str(home), "XDG_RUNTIME_DIR": str(home), "CXR_MODEL_DIR": str(home / "models")}
        known |= {"CXR_RUNTIME": "tests.support.hash_scorer:HashScorer"}
        words = [str(home / "scans" / "labels.csv") if word == "CSV" else word for word in argv]
        return commands.run(*words, env={**known, **STORE, **env})

    return run_command


@pytest.mark.parametrize(("name", "wrong"), CASES, ids=lambda one: one if isinstance(one, str) else "+".join(one))
def test_no_command_prints_the_password_of_an_unavailable_server(run_command, name, wrong):
    """A command prints no traceback, and succeeds if it needs none of the servers."""
    code, said = run_command(COMMANDS[name], **{**CHANNELS, **wrong} if "nightly" in name else wrong)
    assert CANARY not in said
    assert "Traceback" not in said
    assert code in (0, 1, 2, 3, -9), said


@pytest.mark.parametrize("env", MISTYPED, ids=lambda env: " ".join(env.values()).replace(CANARY, "*"))
def test_a_mistyped_address_gives_one_sentence_that_does_not_repeat_it(run_command, env):
    """The mistyped address may contain the password, so the sentence must not repeat it."""
    argv = COMMANDS["nightly --now" if "CXR_WEBHOOK_URL" in env or "CXR_SMTP_URL" in env else "enqueue"]
    code, said = run_command(argv, **env)
    assert code == 2, said
    assert CANARY not in said
    assert said.count("error: ") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "content",
    [UNAVAILABLE_DATABASE.encode() + b"\n", b"\xff" + CANARY.encode(), f"{UNAVAILABLE_DATABASE}\n{CANARY}".encode()],
)
def test_a_secret_in_a_file_is_not_printed(run_command, tmp_path, content):
    """The file holds a valid address, bytes that are not text, or a second line."""
    (tmp_path / "secret").write_bytes(content)
    code, said = run_command(COMMANDS["status"], CXR_DATABASE_URL_FILE=str(tmp_path / "secret"))
    assert code == 2, said
    assert CANARY not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["producer", "producer enqueue", "producer nightly", "worker start", "trainer fit"])
def test_help_shows_no_value_of_the_environment(commands, command):
    """The help names the variables, but not their values."""
    secrets = {"CXR_DATABASE_URL": UNAVAILABLE_DATABASE, "CXR_MODEL": CANARY, "CXR_IMAGES": CANARY, **CHANNELS, **STORE}
    code, said = commands.run(*command.split(), "--help", env=secrets)
    assert code == 0
    assert "Usage" in said
    assert CANARY not in said


def test_a_worker_whose_broker_refuses_it_keeps_the_password_to_itself(tmp_path, home):
    """Neither the logs of worker, Celery and kombu nor its command lines nor its metrics show the password."""
    valkey, port = Valkey(), free_port()
    client = valkey.client
    client.config_set("requirepass", CANARY)
    env = {
        "CXR_HOME": str(home),
        "CXR_MODEL_DIR": str(home / "models"),
        "CXR_RUNTIME": "tests.support.hash_scorer:HashScorer",
    }
    env |= {"CXR_BROKER_URL": f"redis://:{CANARY}@127.0.0.1:{valkey.port}/0", "CXR_METRICS_PORT": str(port)}
    world = World(home=tmp_path, env=env)
    try:
        worker = world.worker()
        wait_until(lambda: "hash float32" in world.logs(), 40, "a loaded model")
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal")
        wait_until(lambda: "invalid username-password" in world.logs() or "AuthenticationError" in world.logs(), 40)
        processes = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
        assert CANARY not in " ".join(word for process in processes for word in process.cmdline())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert CANARY not in answer.read().decode()
        valkey.kill()
        wait_until(lambda: "onnection refused" in world.logs() or "ConnectionError" in world.logs(), 40)
    finally:
        world.stop()
        valkey.close()
    assert CANARY not in world.logs()
    assert image_name(0)[:8] not in world.logs()
