"""A proxy between client and server that can drop all traffic in silence, like a firewall that forgot a connection."""

import contextlib
import socket
import threading

from tests.support.world import free_port


class Proxy:
    """Forwards connections of its port to another port, until a test lets it drop their traffic."""

    def __init__(self, port):
        self._to = port
        self.port = free_port()
        self._ways = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self):
        """Drop all further traffic of the open connections without closing them; new connections work.

        Returns:
            The number of these connections.
        """
        open_ways = [way for way in self._ways if way.is_open]
        for way in open_ways:
            way.deaf = True
        return len(open_ways)

    def close(self):
        self._listener.close()
        for way in self._ways:
            way.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    self._ways.append(_Way(client, socket.create_connection(("127.0.0.1", self._to))))
                except OSError:
                    client.close()


class _Way:
    """One connection, both directions."""

    def __init__(self, client, server):
        self.deaf = False
        self.is_open = True
        self._ends = (client, server)
        for source, target in (self._ends, self._ends[::-1]):
            threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.deaf:
                    target.sendall(data)
        # A connection whose traffic is dropped hides that the other end has closed, too.
        if not self.deaf:
            self.close()

    def close(self):
        self.is_open = False
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
