"""Runs many commands in little time: one process imports everything once and forks for each command.

As a program it reads one JSON object per line (`argv`, `env`, `seconds`) and answers with one (`code`, `said`).
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The modules that commands import when they run; TensorFlow is not among them.
_MODULES = (
    *(
        "producer.cli",
        "worker.cli",
        "trainer.cli",
        "db.__main__",
        "db.engine.session",
        "db.migrations",
        "alembic.command",
    ),
    *(
        "producer.commands.runs",
        "producer.commands.inspect_run",
        "producer.commands.maintain",
        "producer.commands.models",
        "producer.commands.status",
        "worker.supervision.start",
    ),
    *("producer.commands.nightly", "celery.apps.worker", "boto3", "psycopg", "alembic.config"),
)


class CommandServer:
    """The test's handle on the process."""

    def __init__(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("CXR_", "AWS_"))}
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv, env, seconds=6):
        """The exit code (-9 if the command was still running) and what it wrote to stdout and stderr."""
        self._server.stdin.write(json.dumps({"argv": argv, "env": env, "seconds": seconds}) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return answer["code"], answer["said"]

    def close(self):
        self._server.stdin.close()
        self._server.wait()


def serve():
    """Read one command after another and answer each."""
    sys.path.insert(0, str(ROOT))
    for module in _MODULES:
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(_run(**json.loads(line))), flush=True)


def _run(argv, env, seconds):
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            _become(argv, env, said.fileno())
        code = _wait(pid, seconds)
        said.seek(0)
        return {"code": code, "said": said.read().decode(errors="replace")}


def _become(argv, env, said):
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.update(env)
    sys.argv = list(argv)
    code = 70
    try:
        program = sys.modules[{"db": "db.__main__"}.get(argv[0], f"{argv[0]}.cli")]
        code = program.main(argv[1:]) if argv[0] == "db" else program.main()
    except SystemExit as error:
        code = error.code
    except BaseException:  # noqa: BLE001
        # As Python itself would print it.
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


def _wait(pid, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL


if __name__ == "__main__":
    serve()
