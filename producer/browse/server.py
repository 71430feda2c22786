"""Serves the pages on this machine until the person stops the program."""

import os
import socket
from contextlib import suppress
from getpass import getuser

import uvicorn

from db.engine.session import make_engine, open_to_read
from db.errors import UserError
from producer.browse.app import make_app
from producer.browse.context import BrowseContext
from producer.browse.security import AccessKey
from worker.settings import WorkerSettings

#: Seconds that requests which are being answered have at the end.
_GRACE_SECONDS = 2
#: Seconds that a review waits for another writer, because a person waits for it.
_LOCK_SECONDS = 5.0


def serve(settings: WorkerSettings, port: int) -> None:
    """Print the address, and serve it until Ctrl+C.

    Args:
        settings: of the command.
        port: on the loopback interface; 0 takes any free one.

    Raises:
        UserError: the port is taken.
    """
    # A film in lossless JPEG needs numba. What a worker compiled is there already.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(settings.home / "compiled"))
    listener = _listen(port)
    reading = open_to_read(settings.database_url)
    writing = make_engine(settings.database_url, lock_timeout=_LOCK_SECONDS)
    context = BrowseContext(settings, reading=reading, writing=writing, reviewer=_login_name())
    key = AccessKey()
    config = uvicorn.Config(
        make_app(context, key),
        # Requests are not logged: the address of a worklist says what is looked for.
        access_log=False,
        log_level="error",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    print("Open this address in a browser on this machine; Ctrl+C stops the program:")
    print(key.address(listener.getsockname()[1]), flush=True)
    # Ctrl+C is how this program ends.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UserError(
            f"--port {port}: {os.strerror(error.errno or 0)}; choose another one, or leave it out"
        ) from error


def _login_name() -> str:
    try:
        return getuser()
    except (KeyError, OSError):
        # A user of a container may have no name.
        return "unknown"
