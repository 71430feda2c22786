"""`producer browse` answers one person on this machine, and tells nobody else anything."""

import logging
import random
import re
import socket
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from db.addresses import sqlite_address
from tests.support.browse_server import browse_server
from tests.support.demo_ledger import make_demo_ledger

SECRET = b"the content of a file outside of the program's own folders"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A ledger with two runs; beside its home lies a file that nobody may read."""
    home = make_demo_ledger(tmp_path_factory.mktemp("demo"))
    (home / "secret.txt").write_bytes(SECRET)
    with browse_server(sqlite_address(home / "nightread.sqlite"), home) as server:
        yield server


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


STRANGER = build_opener(_NoRedirects)


def test_the_printed_address_becomes_a_session_that_no_other_site_can_use(server):
    """The token goes from the address into a cookie that is sent by this program's own pages alone."""
    answer = server.send(Request(server.address), STRANGER)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert re.search(r"^nightread_\w+=\S+; HttpOnly; Path=/; SameSite=strict$", answer.headers["set-cookie"])


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=x", "/runs/1", "/runs/1/report", "/static/browse.css"])
def test_without_a_session_nothing_is_answered(server, path):
    """Neither pages nor styles; the sentence says which address to open."""
    answer = server.get(path, STRANGER)
    assert (answer.status, answer.text) == (
        403,
        "Open the address that 'producer browse' printed when it started; an older one no longer works.\n",
    )


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::2]", "[", "0.0.0.0:80", ""])
def test_another_name_of_this_machine_is_refused(server, host):
    """A site that makes its own name point to this machine (DNS rebinding) is not answered, with a session either."""
    assert server.get("/", Host=host).status in ({403, 400} if host == "" else {403})


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_another_site_can_change_nothing(server, origin):
    """A review that a page of another site, or of another port, makes the browser send is refused."""
    answer = server.post("/runs/1/scans/1/reviews", b"verdict=agree", Origin=origin)
    assert (answer.status, answer.text) == (403, "Only the pages of this program may change anything.\n")


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_another_site_gets_no_part_of_a_page(server, site):
    """Ports of this machine are one site, whose pages have the cookie sent; a click on a link is answered."""
    part = server.get("/runs/1/auroc", **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
    assert (part.status, part.text) == (403, "Only the pages of this program may ask for parts of them.\n")
    assert server.get("/", **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status == 200


@pytest.mark.parametrize("path", ["/", "/runs/1", "/nothing", "/static/browse.css", "/runs/1/scans/1/film.png"])
def test_every_answer_forbids_what_a_page_need_not_do(server, path):
    """The browser asks nobody else, keeps nothing, and shows the page in no frame."""
    headers = server.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")
    assert (headers["x-content-type-options"], headers["server"]) == ("nosniff", None)


def test_the_reports_page_runs_in_a_sandbox(server):
    """It has scripts of its own, which therefore have no origin: this program refuses whatever they ask."""
    headers = server.get("/runs/1/report").headers
    assert headers["content-security-policy"].endswith("sandbox allow-scripts allow-downloads")


def test_1000_random_requests_get_no_traceback_and_no_file(server, caplog):
    """Hostile addresses, headers and bodies are answered with a page or a refusal, and the program goes on."""
    draw, session = random.Random(29), "; ".join(f"{c.name}={c.value}" for c in _cookies(server))
    with caplog.at_level(logging.INFO):
        answers = [_send_raw(server, _hostile_request(draw, session)) for _ in range(1000)]
    statuses = {int(answer.split()[1]) for answer in answers if answer}
    assert statuses <= {200, 303, 501, 400, 403, 404, 405, 413, 414, 422, 431}, statuses
    assert {200, 400, 403, 404} <= statuses
    assert not [answer for answer in answers if SECRET in answer or b"root:" in answer or b"Traceback" in answer]
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert server.get("/").status == 200


def _cookies(server):
    return next(handler.cookiejar for handler in server.opener.handlers if hasattr(handler, "cookiejar"))


_PIECES = (
    *("runs", "1", "2", "scans", "static", "browse.css", "film.png", "map", "thumbnail", "reviews", "worklist.csv"),
    *("..", "%2e%2e", "..%2f", "%00", "%ff%fe", "secret.txt", "etc", "passwd", "9" * 18, "9" * 400, "-1", "1e9"),
    *("%e2%80%ae", "<script>", "'; DROP TABLE scans; --", "A" * 9000, "\\..\\..", "auroc", "report", "%0d%0aX:%20y"),
)
_QUERIES = (
    *("finding", "sort", "threshold", "label", "verdict", "state", "reason", "view", "age_from", "low", "page"),
    *("token", "held_out", "review", "%00", "a" * 500),
)
_VALUES = (
    *("Effusion", "1", "0.5", "-1", "nan", "inf", "1e400", "%00", "%ff", "9" * 400, "<b>", "' OR 1=1", "wrong"),
    *("..%2f..%2fsecret.txt", "{{7*7}}", "%F0%9F%A9%BB", "", "/etc/passwd", "file:///etc/passwd"),
)

_FOREIGN = "nightread_x=\xff"


def _hostile_request(draw, session):
    """A request as bytes; two in three have the session, so that they reach the pages."""
    known = draw.choice(("/", "/runs/1", "/runs/2", "/runs/1/scans/7", "/runs/1/worklist.csv", "/static/"))
    path = draw.choice(
        (known, "/" + "/".join(draw.choices(_PIECES, k=draw.randint(1, 6))), known + draw.choice(_PIECES))
    )
    query = "&".join(f"{draw.choice(_QUERIES)}={draw.choice(_VALUES)}" for _ in range(draw.randint(0, 4)))
    method = draw.choice(("GET",) * 6 + ("POST", "HEAD", "PUT", "OPTIONS", "G\x01T"))
    host = draw.choice(("127.0.0.1",) * 5 + ("localhost:80", "evil.example", "[::1", "\x00"))
    body = draw.choice((b"", b"verdict=agree&finding=%00", draw.randbytes(200), b"comment=" + b"x" * 20_000))
    lines = [f"{method} {path.replace(' ', '%20')}?{query.replace(' ', '+')} HTTP/1.1", f"Host: {host}"]
    lines += [f"Cookie: {draw.choice((session, session, _FOREIGN))}", "Connection: close"]
    lines += [f"Origin: http://{draw.choice((host, 'evil.example'))}"] * draw.randint(0, 1)
    lines += [f"Range: bytes={draw.choice(('0-', '-1', '9-1', 'x'))}"] * draw.randint(0, 1)
    lines += [f"Content-Length: {len(body)}"] * bool(body)
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _send_raw(server, request):
    """The server's answer; b"" if the server closes the connection without one, as it may after invalid HTTP."""
    with socket.create_connection(("127.0.0.1", int(server.base.rpartition(":")[2])), timeout=20) as connection:
        try:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b""
