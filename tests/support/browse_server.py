"""The application of `producer browse` on a free port of this machine, in a thread of the test's process."""

import socket
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from threading import Thread
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import uvicorn

from db.engine.session import open_database, open_to_read
from producer.browse.app import make_app
from producer.browse.context import BrowseContext
from producer.browse.security import AccessKey
from tests.support.world import wait_until
from worker.settings import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    #: Of the answer, after redirects.
    url: str
    headers: object
    body: bytes

    @property
    def text(self):
        return self.body.decode()


@dataclass(frozen=True, kw_only=True)
class BrowseServer:
    """`base` is `http://127.0.0.1:PORT`; `address` is the printed one, whose token opens a session."""

    base: str
    address: str
    context: BrowseContext
    #: With a session.
    opener: OpenerDirector

    def get(self, path, opener=None, **headers):
        """The answer to a path such as `/runs/1?page=2`, whatever its status; it follows redirects."""
        return self.send(Request(self.base + path, headers=headers), opener)

    def post(self, path, form, opener=None, **headers):
        """The answer to a form (bytes, URL-encoded), sent as a page of the program sends it."""
        return self.send(Request(self.base + path, form, {"Origin": self.base, **headers}), opener)

    def send(self, request, opener=None):
        try:
            with (opener or self.opener).open(request, timeout=60) as answer:
                return Answer(status=answer.status, url=answer.url, headers=answer.headers, body=answer.read())
        except HTTPError as answer:
            with answer:
                return Answer(status=answer.status, url=answer.url, headers=answer.headers, body=answer.read())


@contextmanager
def browse_server(url, home, reviewer="reader"):
    """Serve the ledger at `url` with the settings of a home folder; yields a `BrowseServer`."""
    settings = WorkerSettings(home=home, database_url=url)
    writing, reading, key = open_database(url), open_to_read(url), AccessKey()
    context = BrowseContext(settings, reading=reading, writing=writing, reviewer=reviewer)
    config = uvicorn.Config(
        make_app(context, key), access_log=False, log_level="error", lifespan="off", ws="none", server_header=False
    )
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, _running(config, listener):
        port = listener.getsockname()[1]
        opener = build_opener(HTTPCookieProcessor(CookieJar()))
        with opener.open(key.address(port)):
            pass
        base = f"http://127.0.0.1:{port}"
        yield BrowseServer(base=base, address=key.address(port), context=context, opener=opener)
    reading.dispose()
    writing.dispose()


@contextmanager
def _running(config, listener):
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    wait_until(lambda: server.started, what="the server")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
