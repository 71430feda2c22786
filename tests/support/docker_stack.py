"""A Docker engine, the images that are tested on it, and the stack of docker/compose.yaml."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests/containers"
#: Prefix of every image and container of the tests, by which they are recognised and removed.
PROJECT = "nightread-test"
THIRD_PARTY = {"broker": "BROKER", "database": "DATABASE", "s3": "S3", "prometheus": "PROMETHEUS", "flower": "FLOWER"}


def sh(*command, env=None, check=True, timeout=1200, cwd=ROOT):
    """Run a command to its end and return its stdout; a failure contains its output."""
    done = subprocess.run(
        [str(part) for part in command], env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout if check else done


def compose_command():
    """Compose v2 if the client has it, otherwise docker-compose 1.29; COMPOSE overrides both."""
    if os.environ.get("COMPOSE"):
        return os.environ["COMPOSE"].split()
    has_v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    return ["docker", "compose"] if has_v2 else ["docker-compose"]


def base_image():
    """Debian from the registry, or from debootstrap where none answers, with this machine's trust in TLS."""
    if sh("docker", "images", "--quiet", f"{PROJECT}/base").strip():
        return f"{PROJECT}/base", "kept from before"
    pulled = sh("docker", "pull", "debian:12-slim", check=False, timeout=120)
    if pulled.returncode == 0:
        return "debian:12-slim", "pulled"
    with tempfile.TemporaryDirectory(prefix="debian-") as folder:
        sh("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", folder)
        # Where TLS is inspected, the builds must trust the certificates that the host trusts.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", Path(folder, "etc/ssl/certs/ca-certificates.crt"))
        for rubbish in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(Path(folder, rubbish), ignore_errors=True)
        # As in the official image: packages that apt has downloaded are deleted.
        Path(folder, "etc/apt/apt.conf.d/docker-clean").write_text(
            'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache ""; APT::Keep-Downloaded-Packages "false";\n'
        )
        trust = "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
        pack = f"tar -C {folder} -c . | docker import --change '{trust}' - {PROJECT}/base"
        sh("sh", "-c", pack)
    return f"{PROJECT}/base", "by debootstrap: no registry answered"


def build_stand_ins(base):
    """Build images of the third-party servers from Debian packages and wheels."""
    for target in THIRD_PARTY:
        sh(*_build(base), "-f", HERE / "stand-ins.Dockerfile", "--target", target, "-t", f"{PROJECT}/{target}", HERE)


def build_worker(base, source, tag):
    """Build a worker's image from another source tree, with this tree's requirements."""
    with tempfile.TemporaryDirectory(prefix="context-") as folder:
        for name in ("pyproject.toml", "README.md", "LICENSE", "db", "worker", "producer", "trainer"):
            copy = shutil.copytree if Path(source, name).is_dir() else shutil.copy
            copy(Path(source, name), Path(folder, name))
        shutil.copytree(
            ROOT / "docker", Path(folder, "docker"), ignore=shutil.ignore_patterns("secrets", "scans", ".env")
        )
        options = ("--build-arg", "LOCK=worker", "--target", "worker", "-t", f"{PROJECT}-worker:{tag}")
        sh(*_build(base), *options, "-f", Path(folder, "docker/Dockerfile"), folder)


def _build(base):
    return "docker", "build", "--network=host", "--build-arg", f"BASE={base}"


@dataclass
class Stack:
    """The services of docker/compose.yaml under a project name of their own."""

    env: dict
    files: list = field(default_factory=lambda: [ROOT / "docker/compose.yaml"])

    def compose(self, *arguments, check=True, **changes):
        files = [part for file in self.files for part in ("-f", file)]
        env = {**os.environ, **self.env, "COMPOSE_PROJECT_NAME": PROJECT, **changes}
        # Not the settings of this host in docker/.env.
        settings = ("--env-file", ROOT / "docker/.env.example")
        return sh(*compose_command(), *settings, *files, *arguments, env=env, check=check)

    def producer(self, *arguments, **kwargs):
        return self.compose("run", "--rm", "-T", "producer", *arguments, **kwargs)

    def containers(self, service):
        """The running containers of a service, the oldest first."""
        wanted = ("--filter", f"label=com.docker.compose.project={PROJECT}")
        wanted += ("--filter", f"label=com.docker.compose.service={service}")
        return sh("docker", "ps", "--quiet", *wanted).split()[::-1]

    def state(self, container):
        return json.loads(sh("docker", "inspect", container))[0]["State"]

    def is_healthy(self, container):
        return self.state(container).get("Health", {}).get("Status") == "healthy"

    def address(self, service):
        """The address at which this host reaches a service's only container."""
        networks = json.loads(sh("docker", "inspect", self.containers(service)[0]))[0]["NetworkSettings"]["Networks"]
        return networks[f"{PROJECT}_default"]["IPAddress"]

    def rows(self, query):
        """Query the database from outside the stack, as an analyst would."""
        with self._database() as connection:
            return connection.execute(query).fetchall()

    def execute(self, statements):
        """Execute a statement in the database from outside the stack."""
        with self._database() as connection:
            connection.execute(statements)

    def _database(self):
        password = Path(self.env["SECRETS"], "database_password").read_text().strip()
        url = f"postgresql://nightread:{password}@{self.address('database')}/nightread"
        return psycopg.connect(url, connect_timeout=5)

    def logs(self):
        return self.compose("logs", "--no-color", "--tail=60", check=False).stdout
