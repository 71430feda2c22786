"""Runs Python in a process of its own that says each thing by which it could tell somebody something."""

import os
import subprocess
import sys
from pathlib import Path

_WAYS_OUT = {
    "os.fork", "os.posix_spawn", "socket.connect", "socket.getaddrinfo", "socket.sendmsg", "socket.sendto",
    "subprocess.Popen",
}  # fmt: skip
#: Where it is set, telemetry keeps quiet by itself: it is not to be seen in tests.
_SIGNS_OF_CI = {"CI", "TF_BUILD", "JENKINS_URL", "NNCF_CI", "NNCF_DEV"}
_ROOT = str(Path(__file__).parents[2])


def run_audited(code):
    """What it prints, a word at a time; a connection or a process that it starts is one of these words."""
    hook = f"import sys; sys.addaudithook(lambda event, _: event in {_WAYS_OUT} and print(event, flush=True))\n"
    env = {name: value for name, value in os.environ.items() if name not in _SIGNS_OF_CI}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, env.get("PYTHONPATH")]))
    command = [sys.executable, "-c", hook + code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()
