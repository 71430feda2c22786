"""An S3 server with the oddities of gateways, appliances and older stores, which a real server does not show."""

import contextlib
import gzip
import hashlib
import itertools
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

#: The ETag of every object of a store that does not compute any.
ONE_ETAG = "0" * 32 + "-1"
#: When the first object is written; each further one is written an hour later.
_START = datetime(2026, 11, 24, 2, tzinfo=UTC)


class OddStore:
    """One bucket, `ward`, in memory. It asks for no key, and shows the oddities that it was made with.

    `one etag`: all objects have the same. `no etag`, `no etag listed`, `empty etag listed`, `no etag sent`.
    `no token`: pages end without one. `v1`: pages only by `marker`. `same page`: pages only seemingly.
    `same token`: the second page leads to itself. `empty pages`: without end. `gzip`: objects are sent compressed.
    `portal`: a page that asks for a password is sent for every object.
    """

    def __init__(self, *oddities, page=2):
        """Serve pages of `page` keys on a free port."""
        self.oddities, self.page = set(oddities), page
        #: Bytes and time, by key.
        self.objects = {}
        self._clock = itertools.count()

    def put(self, key, data, modified=None):
        """Write an object."""
        self.objects[key] = (data, modified or _START + timedelta(hours=next(self._clock)))

    @contextlib.contextmanager
    def serving(self):
        """Serve; yields the address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.store, server.daemon_threads, server.block_on_close = self, True, False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()

    def etag(self, data, *without):
        """The quoted ETag of bytes; None where one of these oddities leaves it out."""
        if self.oddities & {"no etag", *without}:
            return None
        one = "one etag" in self.oddities
        return f'"{ONE_ETAG if one else hashlib.md5(data, usedforsecurity=False).hexdigest()}"'

    def list_page(self, query):
        """The answer to a request for a page of keys, as XML."""
        is_v1 = "v1" in self.oddities
        after = query.get("marker" if is_v1 else "continuation-token", "")
        if "same page" in self.oddities:
            after = ""
        keys = sorted(key for key in self.objects if key.startswith(query.get("prefix", "")) and key > after)
        shown = keys[: self.page]
        if "empty pages" in self.oddities:
            shown, keys = [], ["more"]
        parts = [f"<IsTruncated>{str(len(keys) > len(shown)).lower()}</IsTruncated>"]
        if len(keys) > len(shown) and not self.oddities & {"no token", "v1"}:
            parts += [f"<NextContinuationToken>{escape(self._token(shown))}</NextContinuationToken>"]
        parts += [self._entry(key, *self.objects[key]) for key in shown]
        return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{"".join(parts)}</ListBucketResult>'

    def _token(self, shown):
        if "same token" in self.oddities:
            return min(self.objects)
        return shown[-1] if shown and "same page" not in self.oddities else f"token {next(self._clock)}"

    def _entry(self, key, data, modified):
        etag = self.etag(data, "no etag listed", "empty etag listed")
        if "empty etag listed" in self.oddities:
            etag = ""
        part = "" if etag is None else f"<ETag>{escape(etag)}</ETag>"
        part += f"<LastModified>{modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified><Size>{len(data)}</Size>"
        return f"<Contents><Key>{escape(key)}</Key>{part}</Contents>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        store, url = self.server.store, urlsplit(self.path)
        key = unquote(url.path).removeprefix("/ward").lstrip("/")
        if not key:
            self._answer(200, store.list_page(dict(parse_qsl(url.query))).encode(), {"Content-Type": "application/xml"})
        elif key in store.objects:
            self._send(store, *store.objects[key])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "application/xml"})

    def _send(self, store, data, modified):
        headers = {"Content-Type": "image/png", "Last-Modified": format_datetime(modified, usegmt=True)}
        if etag := store.etag(data, "no etag sent"):
            headers["ETag"] = etag
        if "gzip" in store.oddities:
            data, headers["Content-Encoding"] = gzip.compress(data), "gzip"
        if "portal" in store.oddities:
            data, headers["Content-Type"] = b"<!doctype html><html>Please sign in</html>", "text/html"
        self._answer(200, data, headers)

    def _answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
