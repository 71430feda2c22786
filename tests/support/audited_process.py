"""Runs Python in a process of its own whose audit hook reports every connection and every child process."""

import os
import subprocess
import sys
from pathlib import Path

_REPORTED_EVENTS = {
    "os.fork", "os.posix_spawn", "socket.connect", "socket.getaddrinfo", "socket.sendmsg", "socket.sendto",
    "subprocess.Popen",
}  # fmt: skip
#: Telemetry switches itself off where one of these is set, and then the test would prove nothing.
_CI_VARIABLES = {"CI", "TF_BUILD", "JENKINS_URL", "NNCF_CI", "NNCF_DEV"}
_ROOT = str(Path(__file__).parents[2])


def run_audited(code):
    """The words that the code prints; the audit event of each connection or child process is one of them."""
    hook = f"import sys; sys.addaudithook(lambda event, _: event in {_REPORTED_EVENTS} and print(event, flush=True))\n"
    env = {name: value for name, value in os.environ.items() if name not in _CI_VARIABLES}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, env.get("PYTHONPATH")]))
    command = [sys.executable, "-c", hook + code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()
