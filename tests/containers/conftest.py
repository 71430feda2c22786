"""One stack for the whole story: images built, servers up, and all of it taken down at the end."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.docker_stack import (
    PROJECT,
    ROOT,
    THIRD_PARTY,
    Stack,
    base_image,
    build_stand_ins,
    compose_command,
    sh,
)
from tests.support.fleet_ledger import Ledger

FIGURES = []


@pytest.fixture(scope="session")
def figure():
    """Notes a figure for the table at the end."""
    return lambda what, value: FIGURES.append((what, value))


def pytest_terminal_summary(terminalreporter):
    """What was measured, and what could not be run."""
    terminalreporter.section("figures")
    for what, value in FIGURES:
        terminalreporter.write_line(f"{what:<66} {value}")
    terminalreporter.write_line("not run: the image worker-gpu and compose's profile gpu (no NVIDIA runtime here)")


@pytest.fixture(scope="session")
def base(figure):
    """The Debian that everything is built on."""
    if sh("docker", "version", check=False).returncode:
        pytest.exit("no Docker engine answers: start dockerd, or see that you may speak to it", returncode=2)
    name, how = base_image()
    figure("base image", how)
    figure("compose", " ".join(compose_command()))
    return name


@pytest.fixture(scope="session")
def stack(base, figure):
    """The stack's images, built; nothing runs yet."""
    build_stand_ins(base)
    figure("broker, database, S3, Prometheus, Flower", "stand-ins from Debian packages and wheels")
    folder = Path(tempfile.mkdtemp(prefix="containers-"))
    scans = folder / "scans"
    scans.mkdir()
    # The trainer, an unprivileged user, draws phantoms there.
    scans.chmod(0o777)
    sh("sh", ROOT / "docker/secrets.sh", folder / "secrets")
    env = {"IMAGES": PROJECT, "SECRETS": str(folder / "secrets"), "SCANS": str(scans), "BASE": base}
    env |= {"BUILD_NETWORK": "host", "PROMETHEUS_PORT": "0", "FLOWER_PORT": "0"}
    env |= {f"{variable}_IMAGE": f"{PROJECT}/{name}" for name, variable in THIRD_PARTY.items()}
    stack = Stack(env)
    stack.compose("build", "worker", "migrate", COMPOSE_PROFILES="")
    stack.compose("build", "trainer", COMPOSE_PROFILES="trainer")
    yield stack
    stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", COMPOSE_PROFILES="monitoring")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def ledger(stack):
    """The stack's SQL and queue; 433 phantoms are scored again and again."""
    return Ledger(stack, scans=433)
