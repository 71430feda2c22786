"""`producer run`: a worker process of its own that lives as long as the command."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from db.errors import WorkStopped
from worker.processes import die_with_parent
from worker.settings import WorkerSettings

#: Logs of this many runs are kept.
_KEPT_LOGS: Final = 20


class LocalWorker:
    """A `worker start` process and the path of its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, start: int) -> None:
        """The process writes to the log from byte `start` on."""
        self._process = process
        self.log = log
        self._start = start

    def check(self) -> None:
        """Raise `WorkStopped` with the last line of the worker's log if the process has ended."""
        if self._process.poll() is not None:
            lines = self.log.read_bytes()[self._start :].decode(errors="replace").splitlines()
            raise WorkStopped(f"the worker ended: {lines[-1] if lines else 'no reason given'} (log: {self.log})")


@contextmanager
def local_worker(
    settings: WorkerSettings, run_id: int, model_sha256: str, *, options: Sequence[str] = ()
) -> Iterator[LocalWorker]:
    """Run a worker, and stop it at the end; scans that it has not finished stay pending.

    Each run has a log in `CXR_HOME/logs`, to which a worker that continues the run appends.

    Further `options` are those of `worker start`.

    While the worker is stopping, Ctrl+C makes it stop at once. After an error this stays so until the command exits.
    """
    before = signal.getsignal(signal.SIGINT)
    log = settings.home / "logs" / f"run-{run_id}.log"
    command = [sys.executable, "-m", "worker.cli", "start", "--model", model_sha256, *options]
    with _open_log(log) as file:
        start = file.tell()
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
        yield LocalWorker(process, log, start)
    finally:
        # A second SIGTERM makes the worker stop at once.
        signal.signal(signal.SIGINT, lambda *_: process.terminate())
        process.terminate()
        process.wait()
    signal.signal(signal.SIGINT, before)


def _open_log(path: Path) -> BinaryIO:
    """Open a log to append to, and delete the logs that were written to longest ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    others = [log for log in path.parent.glob("run-*.log") if log != path]
    for old in sorted(others, key=lambda log: log.stat().st_mtime, reverse=True)[_KEPT_LOGS - 1 :]:
        old.unlink(missing_ok=True)
    return file
