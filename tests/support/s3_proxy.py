"""A proxy before a real S3 server that damages some of its answers, as networks, gateways and stores do."""

import contextlib
import http.client
import re
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from tests.support.world import free_port

#: A request for one object, not for a listing or a bucket.
_OBJECT = re.compile(r"^/[^/?]+/[^?]+")
_PAGE = b"<!doctype html><html><body>Please sign in to the hospital's guest network</body></html>"


class S3Proxy:
    """An address that a test can take down and bring back, and at which it can damage answers."""

    def __init__(self, upstream, rng):
        """Listen on a free port; `upstream` is the server's address."""
        self.rng = rng
        self.upstream = urlsplit(upstream)
        self.port = free_port()
        #: Called with the key for each GET of an object: returns one of this module's faults, or None.
        self.choose = lambda key: None
        #: How many answers each fault damaged.
        self.spoiled = Counter()
        self._server = None
        self._connections = set()
        self.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Listen, at the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        self._server.proxy, self._server.daemon_threads, self._server.block_on_close = self, True, False
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Refuse every connection from now on, and close those that are open."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def spoil(self, fault, share):
        """Damage this share of the answers, at random."""
        self.choose = lambda key: fault if self.rng.random() < share else None

    def heal(self):
        self.choose = lambda key: None

    def pass_on(self, handler):
        """The server's own answer to a request: status, headers, body."""
        connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=20)
        try:
            # The Host header stays as it was signed.
            connection.request(handler.command, handler.path, headers=dict(handler.headers))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.proxy._connections.add(self.connection)

    def finish(self):
        self.server.proxy._connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self):
        proxy = self.server.proxy
        fault = None
        if _OBJECT.match(self.path):
            fault = proxy.choose(unquote(urlsplit(self.path).path).split("/", 2)[2])
        answer = proxy.pass_on(self)
        if fault is not None:
            proxy.spoiled[fault.__name__] += 1
        with contextlib.suppress(OSError):
            (fault or whole)(self, *answer)

    def do_HEAD(self):
        status, headers, _ = self.server.proxy.pass_on(self)
        whole(self, status, headers, b"")

    def log_message(self, *_):
        pass


def _head(handler, status, headers, length):
    handler.send_response_only(status)
    for name, value in headers:
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            handler.send_header(name, value)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def whole(handler, status, headers, body):
    """The server's answer, unchanged."""
    _head(handler, status, headers, len(body))
    handler.wfile.write(body)


def _error(status, code):
    document = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>not now</Message></Error>".encode()

    def spoil(handler, *_):
        whole(handler, status, [("Content-Type", "application/xml")], document)

    spoil.__name__ = f"{status} {code}"
    return spoil


slow_down = _error(503, "SlowDown")
internal_error = _error(500, "InternalError")
redirected = _error(307, "TemporaryRedirect")
denied = _error(403, "AccessDenied")


def _page(status):
    def spoil(handler, *_):
        whole(handler, status, [("Content-Type", "text/html"), ("Location", "http://portal.invalid/")], _PAGE)

    spoil.__name__ = f"{status} with a page"
    return spoil


portal, portal_redirect, proxy_denies, proxy_misses = _page(200), _page(302), _page(403), _page(404)
no_range, bad_gateway = _page(416), _page(502)


def cut_short(handler, status, headers, body):
    """The connection ends before the body does."""
    _head(handler, status, headers, len(body) + 100)
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def flipped(handler, status, headers, body):
    """One bit is flipped."""
    spoiled = bytearray(body)
    if spoiled:
        spoiled[handler.server.proxy.rng.randrange(len(spoiled))] ^= 0x10
    whole(handler, status, headers, bytes(spoiled))


def stalled(handler, status, headers, body):
    """The headers, half of the body, then nothing."""
    _head(handler, status, headers, len(body) + 1)
    handler.wfile.write(body[: len(body) // 2])
    time.sleep(60)
    handler.close_connection = True


def dripping(handler, status, headers, body):
    """One byte per second."""
    _head(handler, status, headers, len(body) + 1)
    for place in range(300):
        handler.wfile.write(body[place : place + 1] or b" ")
        time.sleep(1)
    handler.close_connection = True


def silent(handler, *_):
    """Not even a header."""
    time.sleep(60)
    handler.close_connection = True
