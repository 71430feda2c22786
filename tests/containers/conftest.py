"""Builds the images, runs one stack for all tests, and removes everything at the end."""

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
    """A function that adds a figure to the table at the end."""
    return lambda what, value: FIGURES.append((what, value))


def pytest_terminal_summary(terminalreporter):
    """Print the figures and the parts that cannot be tested here."""
    terminalreporter.section("figures")
    for what, value in FIGURES:
        terminalreporter.write_line(f"{what:<66} {value}")
    terminalreporter.write_line("not run: the image worker-gpu and compose's profile gpu (no NVIDIA runtime here)")


@pytest.fixture(scope="session")
def base(figure):
    """The Debian image on which all others are built."""
    if sh("docker", "version", check=False).returncode:
        pytest.exit("no Docker engine answers: start dockerd, or get access to its socket", returncode=2)
    name, how = base_image()
    figure("base image", how)
    figure("compose", " ".join(compose_command()))
    return name


@pytest.fixture(scope="session")
def stack(base, figure):
    """The stack with all images built and no container started."""
    build_stand_ins(base)
    figure("broker, database, S3, Prometheus, Flower", "stand-ins from Debian packages and wheels")
    folder = Path(tempfile.mkdtemp(prefix="containers-"))
    scans = folder / "scans"
    scans.mkdir()
    # The trainer writes phantoms there as an unprivileged user.
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
    """The stack's database and queue; all tests score the same 433 phantoms."""
    return Ledger(stack, scans=433)
