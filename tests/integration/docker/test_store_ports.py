"""The store of docker/compose.yaml, started with that file's own flags, serves other containers S3 and nothing else."""

import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.support.s3_grpc import add_administrator
from tests.support.world import free_port, wait_until

DOCKER = Path(__file__).parents[3] / "docker"
#: Stands for the container's address in the network that it shares with the others.
NETWORK = "127.0.0.2"


def compose_flags():
    """The command of the service `s3`."""
    service = (DOCKER / "compose.yaml").read_text().partition("\n  s3:\n")[2].partition("\n  prometheus:\n")[0]
    return re.findall(r"^      - (\S+)$", service, re.MULTILINE)


@pytest.fixture(scope="module")
def store(weed, tmp_path_factory):
    """The server's process, and the ports of S3 and of its gRPC."""
    folder = tmp_path_factory.mktemp("store")
    subprocess.run(["sh", DOCKER / "secrets.sh", folder], check=True, stdout=subprocess.DEVNULL)
    paths = {"/run/secrets": str(folder), "=/data": f"={folder}", "0.0.0.0": NETWORK}
    flags = [re.sub("|".join(paths), lambda found: paths[found[0]], flag) for flag in compose_flags()]
    ports = {
        f"{name}.port{kind}": free_port() for name in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")
    }
    flags += [f"-{name}={port}" for name, port in ports.items()]
    server = subprocess.Popen([weed, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answer_without_a_key(ports["s3.port"]) == 403, 60, "the store")
        yield psutil.Process(server.pid), ports["s3.port"], ports["s3.port.grpc"]
    finally:
        # Its orderly shutdown takes half a minute, and nothing in it is kept.
        server.kill()
        server.wait()


def answer_without_a_key(port):
    """The status with which S3 answers a request to list the buckets; None if it does not answer."""
    try:
        return urllib.request.urlopen(f"http://{NETWORK}:{port}/", timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 must be set up first")


def test_other_containers_reach_the_ports_of_s3_and_no_others(store):
    """The filer, the master and the volume server listen on the container's own loopback address."""
    server, *reachable = store
    listening = [one.laddr for one in server.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    assert sorted(at.port for at in listening if at.ip != "127.0.0.1") == sorted(reachable)
    assert {at.ip for at in listening} == {"127.0.0.1", NETWORK}


def test_s3s_grpc_port_does_nothing_without_a_key(store):
    """It listens wherever S3 does, and would take an administrator from anybody."""
    assert add_administrator(f"{NETWORK}:{store[2]}") == "UNAUTHENTICATED"
