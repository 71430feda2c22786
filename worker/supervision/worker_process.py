"""One celery worker process, pinned to one device: started, started again with a growing pause, stopped."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from db.errors import UserError
from worker.messaging.messages import queue_of
from worker.processes import die_with_parent
from worker.settings import MODEL_VARIABLE, PROCESSES_VARIABLE, STATUS_VARIABLE
from worker.supervision.devices import Device
from worker.supervision.restart_policy import RestartPolicy
from worker.telemetry.status_file import Seen, await_process, read_status

#: Of glibc: memory that was freed is kept for the next image, not given back. On 16 cores decoders spent half of their
#: time on clearing new pages, one after the other.
KEEP_MEMORY: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
    "MALLOC_TOP_PAD_": str(2**24),
}

logger = logging.getLogger(__name__)


class WorkerProcess:
    """One celery worker process of concurrency 1, and how often it died."""

    def __init__(self, model_sha256: str, device: Device, number: int, processes: int) -> None:
        """`processes` is how many of them this machine's cores are for."""
        self._model = model_sha256
        self._processes = processes
        self._device = device
        self._name = f"nightread-{os.getpid()}-{number}@%h"
        self._process: subprocess.Popen[bytes] | None = None
        self._back_off = RestartPolicy()
        self._asked = False
        descriptor, path = tempfile.mkstemp(prefix="nightread-child-")
        os.close(descriptor)
        self._status = Path(path)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; whether its model is loaded is another question."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Celery's parent of the process that scores; 0 while there is none."""
        return self._process.pid if self._process is not None and self.is_alive else 0

    @property
    def seen(self) -> Seen:
        """What operators see of it."""
        return Seen(device=self._device.name, model=self._model, status=read_status(self._status), parent=self.pid)

    def keep_alive(self) -> None:
        """Start the worker if it does not run, not faster than the back-off allows.

        Raises:
            UserError: it has ended since it cannot load the model; the next call tries again.
        """
        if self.is_alive:
            return
        if self._process is not None:
            self._reap(self._process.returncode)
        if self._back_off.is_over:
            self._try_to_start()

    def ask_to_stop(self) -> None:
        """Let it hand its chunk back and end. Asked again it does nothing: a second signal cuts the first short."""
        if self._process is not None and self.is_alive and not self._asked:
            self._asked = True
            self._process.terminate()

    def kill_stuck(self) -> None:
        """End it and its child at once, to be started again; what is stuck in the kernel may take its time to go."""
        logger.error("worker for %s gives no sign of life though there is work: restarted", self._device.name)
        self._kill_group()

    def kill(self) -> None:
        """End it and its child at once, if it has not ended by itself."""
        self._kill_group()
        if self._process is not None:
            self._process.wait()
        self._status.unlink(missing_ok=True)

    def _kill_group(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _try_to_start(self) -> None:
        self._back_off.note_start()
        try:
            self._start()
        except OSError as error:
            # No memory, no room for its status file: other devices' workers go on.
            logger.warning("worker for %s cannot be started (%s)", self._device.name, error.strerror)
            self._back_off.note_death()

    def _start(self) -> None:
        await_process(self._status)
        self._asked = False
        # A session of its own: Ctrl+C in the terminal reaches the supervisor alone, which passes it on once.
        self._process = subprocess.Popen(
            self._command(),
            env={**KEEP_MEMORY, **os.environ, **self._environment()},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),
        )
        logger.info("worker for %s started, process %d", self._device.name, self._process.pid)

    def _reap(self, status: int) -> None:
        """Note a death; one in which the child said that it cannot load the model is the end of it."""
        error = read_status(self._status).error
        logger.warning("worker for %s died (%s)", self._device.name, error or status)
        self._process = None
        self._back_off.note_death()
        if error:
            raise UserError(error)

    def _environment(self) -> dict[str, str]:
        return {
            **self._device.environment,
            MODEL_VARIABLE: self._model,
            STATUS_VARIABLE: str(self._status),
            PROCESSES_VARIABLE: str(self._processes),
            # A plain SIGTERM would wait for the task; as SIGQUIT it hands the chunk back.
            "REMAP_SIGTERM": "SIGQUIT",
        }

    def _command(self) -> list[str]:
        options = ("--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=WARNING")
        queue = queue_of(self._model)
        return [
            sys.executable,
            "-m",
            "celery",
            "-q",
            "-A",
            "worker.tasks",
            "worker",
            "-Q",
            queue,
            "-n",
            self._name,
            *options,
        ]
