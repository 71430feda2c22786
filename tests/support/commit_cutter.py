"""A proxy before PostgreSQL that withholds the answers to some commits.

The server has committed, but the client only sees its connection close: it cannot know which of both happened.
"""

import contextlib
import socket
import threading

#: What psycopg sends to commit: a simple query of 11 bytes, or the outcomes of a batch, which are a transaction.
COMMITS = (b"Q\x00\x00\x00\x0bCOMMIT\x00", b'"scored_at": ')


class CommitCutter:
    """A proxy on a port of its own, which withholds no answer until a test sets the share."""

    def __init__(self, target_port, rng):
        self._target = ("127.0.0.1", target_port)
        self._rng = rng
        self._lock = threading.Lock()
        #: In [0, 1].
        self.share = 0
        #: How many answers were withheld.
        self.cut = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            muted = threading.Event()
            threading.Thread(target=self._answer, args=(server, client, muted), daemon=True).start()
            while data := client.recv(65536):
                if any(mark in data for mark in COMMITS) and self._rng.random() < self.share:
                    muted.set()
                server.sendall(data)

    def _answer(self, server, client, muted):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if muted.is_set():
                    # This is the answer: the server has committed.
                    with self._lock:
                        self.cut += 1
                    break
                client.sendall(data)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
