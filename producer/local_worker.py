"""`producer run`: a worker of this machine's own, for as long as one run takes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.errors import WorkStopped
from worker.processes import die_with_parent
from worker.settings import WorkerSettings


class LocalWorker:
    """A `worker start` process and where its log lies."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raise `WorkStopped` with the worker's last words if it is gone."""
        if self._process.poll() is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise WorkStopped(f"the worker ended: {lines[-1] if lines else 'no reason given'} (log: {self._log})")


@contextmanager
def local_worker(settings: WorkerSettings, model_sha256: str) -> Iterator[LocalWorker]:
    """Run a worker, and stop it at the end; what it had not finished stays pending.

    Ctrl+C meanwhile makes it quick. Where the end is an error it does so until the command is over.
    """
    before = signal.getsignal(signal.SIGINT)
    log = settings.home / "worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "worker.cli", "start", "--model", model_sha256]
    with log.open("wb") as file:
        # A session of its own: Ctrl+C ends this command, which then stops the worker once and in order.
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    try:
        yield LocalWorker(process, log)
    finally:
        # To the worker a second SIGTERM says: at once.
        signal.signal(signal.SIGINT, lambda *_: process.terminate())
        process.terminate()
        process.wait()
    signal.signal(signal.SIGINT, before)
