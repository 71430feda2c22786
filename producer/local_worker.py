"""`producer run`: a worker process of its own that lives as long as the command."""

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
    """A `worker start` process and the path of its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raise `WorkStopped` with the last line of the worker's log if the process has ended."""
        if self._process.poll() is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise WorkStopped(f"the worker ended: {lines[-1] if lines else 'no reason given'} (log: {self._log})")


@contextmanager
def local_worker(settings: WorkerSettings, model_sha256: str) -> Iterator[LocalWorker]:
    """Run a worker, and stop it at the end; scans that it has not finished stay pending.

    While the worker is stopping, Ctrl+C makes it stop at once. After an error this stays so until the command exits.
    """
    before = signal.getsignal(signal.SIGINT)
    log = settings.home / "worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "worker.cli", "start", "--model", model_sha256]
    with log.open("wb") as file:
        # In a session of its own the worker does not get Ctrl+C: this command gets it, and stops the worker in order.
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
        # A second SIGTERM makes the worker stop at once.
        signal.signal(signal.SIGINT, lambda *_: process.terminate())
        process.terminate()
        process.wait()
    signal.signal(signal.SIGINT, before)
