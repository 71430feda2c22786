"""`producer browse` as a person starts and stops it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

PRODUCER = str(Path(sys.executable).with_name("producer"))
#: Libraries that cost a process seconds and hundreds of megabytes.
HEAVY = ("tensorflow", "keras", "numba", "openvino")


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "CXR_HOME": str(tmp_path / "home")}


def test_it_prints_its_address_answers_and_ends_at_ctrl_c(environment):
    """The first page comes without a model's libraries; the end is not a failure, and nothing was logged."""
    with subprocess.Popen([PRODUCER, "browse"], env=environment, stdout=-1, stderr=-1, text=True) as program:
        sentence, address = program.stdout.readline(), program.stdout.readline().strip()
        page = build_opener(HTTPCookieProcessor()).open(address).read().decode()
        mapped = Path(f"/proc/{program.pid}/maps").read_text()
        program.send_signal(signal.SIGINT)
        rest, errors = program.communicate(timeout=20)
    assert "There is no run here yet" in page
    assert not [library for library in HEAVY if f"/{library}/" in mapped]
    assert program.returncode == 0
    assert sentence == "Open this address in a browser on this machine; Ctrl+C stops the program:\n"
    assert (rest, errors) == ("", f"home: {environment['CXR_HOME']}\n")


def test_a_port_that_is_taken_is_named(environment):
    """The sentence says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [PRODUCER, "browse", "--port", port], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: --port {port}: Address already in use; choose another one, or leave it out\n")
