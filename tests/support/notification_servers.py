"""A real web server and a real mail server on this machine, each in a thread, that receive summaries."""

import contextlib
import ssl
import threading
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller

from tests.support.world import free_port

#: A self-signed certificate for 127.0.0.1 and its key.
CERTIFICATE = Path(__file__).parent / "loopback.pem"


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted, and answers with the codes in `answers`, then with 204."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Post)
        self.answers, self.asked, self.taken = [], 0, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook?token=hunter2"


class _Post(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        code = self.server.answers.pop(0) if self.server.answers else 204
        self.server.asked += 1
        if code == 204:
            self.server.taken.append((self.path, self.headers["Content-Type"], body))
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    # A client that follows a redirect sends GET.
    do_GET = do_POST

    def log_message(self, *_):
        """Print nothing."""


@contextlib.contextmanager
def webhook():
    """A web server that runs while the block runs."""
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Mailbox:
    """aiosmtpd's handler: keeps the mails. It refuses the first `refusals` mails and recipients named nobody."""

    def __init__(self):
        self.refusals, self.mails, self.logins = 0, [], []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, session, envelope):
        if self.refusals:
            self.refusals -= 1
            return "451 try again later"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append((envelope.rcpt_tos, mail, session.ssl is not None))
        return "250 OK"

    def authenticator(self, _server, _session, _envelope, _mechanism, data):
        from aiosmtpd.smtp import AuthResult

        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"p@ss/word", handled=False)


@contextlib.contextmanager
def mail_server(tls=None, *, implicit=False):
    """A mail server that runs while the block runs; `tls` offers STARTTLS, or with `implicit` TLS from the start."""
    box = Mailbox()
    box.port = free_port()
    options = {} if tls is None or implicit else {"tls_context": tls, "authenticator": box.authenticator}
    controller = Controller(
        box, hostname="127.0.0.1", port=box.port, ssl_context=tls if implicit else None, server_hostname="x", **options
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def server_tls():
    """The TLS context of a server with that certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    return tls
