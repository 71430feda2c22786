"""Measures the statements of a worker for one chunk, as the server logs them, and its round trips.

A relay between the two counts round trips: how often the worker sends something after the server has answered.
"""

import contextlib
import re
import selectors
import socket
import threading
from collections import defaultdict

from tests.benchmarks.scale.fleet import CHUNK, Fleet

CHUNKS = 8
_LOGGED = re.compile(
    r"^(\d+)\|LOG:  duration: ([\d.]+) ms(?:  (\w+)[^:\n]*: (.*?))?(?=^\d+\||\Z)", re.MULTILINE | re.DOTALL
)


class Relay:
    """A context manager that forwards connections from its port to another port."""

    def __init__(self, port):
        self._to = port
        #: Round trips, bytes to the server, and bytes from it, for each connection.
        self.connections = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append([0, 0, 0])
                threading.Thread(target=_forward, args=(client, server, self.connections[-1]), daemon=True).start()


def _forward(client, server, counts):
    spoke = server
    with selectors.DefaultSelector() as selector, client, server, contextlib.suppress(OSError):
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                data = key.fileobj.recv(65536)
                if not data:
                    return
                counts[0] += key.fileobj is client and spoke is server
                counts[1 if key.fileobj is client else 2] += len(data)
                spoke = key.fileobj
                key.data.sendall(data)


def measure_chunk_statements():
    """Figures per chunk of one worker."""
    with Fleet(1, 1, settings=("log_min_duration_statement = 0",), relay=Relay) as fleet:
        busiest = max(fleet.relay.connections)
        before, offset = list(busiest), fleet.postgres.log.stat().st_size
        fleet.score(CHUNK * CHUNKS)
        trips, sent, received = (now - then for now, then in zip(busiest, before, strict=True))
        log = fleet.postgres.log.read_bytes()[offset:].decode()
    return {
        "round trips": trips / CHUNKS,
        "bytes a scan to the server": sent / CHUNK / CHUNKS,
        "bytes a scan from the server": received / CHUNK / CHUNKS,
        "statements": _statements(log),
    }


def _statements(log):
    """Each statement's calls per chunk and server milliseconds per call, in the busiest session."""
    logged = [found.groups() for found in _LOGGED.finditer(log) if found[4]]
    pids = [pid for pid, _, kind, _ in logged if kind in ("execute", "statement")]
    child = max(set(pids), key=pids.count)
    calls, milliseconds = defaultdict(int), defaultdict(float)
    for pid, duration, kind, statement in logged:
        if pid == child:
            calls[_plain(statement)] += kind in ("execute", "statement")
            milliseconds[_plain(statement)] += float(duration)
    return [
        {"statement": one, "calls": count / CHUNKS, "ms": milliseconds[one] / count}
        for one, count in calls.items()
        if count >= CHUNKS
    ]


def _plain(statement):
    """The statement on one line, independent of the number of values."""
    line = " ".join(statement.split())
    return re.sub(r"\$\d+(::\w+)?(, \$\d+(::\w+)?)+", "$...", line)
