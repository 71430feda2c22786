"""A PgBouncer in transaction mode before a PostgreSQL server, while a block runs."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import make_url

from tests.support.world import free_port, wait_until

#: Strict, as it comes: it refuses startup parameters that it does not track. Three sessions for all clients.
_CONFIG = """
[databases]
* = host={host}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
unix_socket_dir =
"""


def find_pgbouncer():
    """The program, or None; Debian installs it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextlib.contextmanager
def pgbouncer(binary, postgres_url):
    """Start it before the server that listens in the folder of this address; yields its port on 127.0.0.1."""
    sockets, listen = make_url(postgres_url).query["host"], free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "ini").write_text(_CONFIG.format(host=sockets, listen=listen, folder=folder))
        Path(folder, "users").write_text('"postgres" ""\n')
        # It refuses to run as root, as PostgreSQL does.
        user = Path(sockets).stat().st_uid if os.geteuid() == 0 else None
        server = subprocess.Popen([binary, "-q", f"{folder}/ini"], user=user, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: _is_listening(listen), what="PgBouncer")
            yield listen
        finally:
            server.terminate()
            server.wait(20)


def through(port, postgres_url):
    """The address of a database through PgBouncer on this port."""
    url = make_url(postgres_url).set(host="127.0.0.1", port=port, query={})
    return url.render_as_string(hide_password=False)


def _is_listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
