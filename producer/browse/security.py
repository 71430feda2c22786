"""Lets in only the person to whom the program printed its address, from this machine, and never for another site."""

import secrets
from dataclasses import dataclass, field
from hmac import compare_digest
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The names by which a browser reaches this machine itself, also through an SSH tunnel, whose port is another one. Any
#: other name in `Host` is that of a site that made its own name point here (DNS rebinding).
_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
#: The browser asks nobody but this program, and keeps nothing: the pages have names of patients on them.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # "no-referrer" would make a browser hide the origin of the forms of these pages.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, kw_only=True)
class AccessKey:
    """Two secrets of one start of the program: the printed address has one, a browser that opened it has the other."""

    #: Cookies are not kept apart by port, so each start has a name of its own.
    cookie: str = field(default_factory=lambda: f"nightread_{secrets.token_hex(4)}")
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def address(self, port: int) -> str:
        """The address to print."""
        return f"http://127.0.0.1:{port}/?token={self.token}"


class Guard:
    """An ASGI application in front of another one, which sees no request that is refused here."""

    def __init__(self, app: ASGIApp, key: AccessKey) -> None:
        """`key` opens it."""
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, exchange the token for a session, or pass the request on."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        answer = _refuse_address(request) or self._open(request) or self._refuse_stranger(request)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _open(self, request: Request) -> Response | None:
        """The answer to the printed address: a cookie, and the same page without the token."""
        if request.url.path != "/" or not _is(request.query_params.get("token"), self._key.token):
            return None
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(self._key.cookie, self._key.session, httponly=True, samesite="strict")
        return answer

    def _refuse_stranger(self, request: Request) -> Response | None:
        if _is(request.cookies.get(self._key.cookie), self._key.session):
            return None
        return _refusal(
            "Open the address that 'producer browse' printed when it started; an older one no longer works."
        )


def _refuse_address(request: Request) -> Response | None:
    """Refuse what another site makes a browser send."""
    host = request.headers.get("host", "")
    if _name_of(f"//{host}") not in _HOSTS:
        return _refusal("This program answers only as 127.0.0.1 or localhost; forward its port with 'ssh -L'.")
    site, mode = (request.headers.get(f"sec-fetch-{name}") for name in ("site", "mode"))
    if site in ("same-site", "cross-site") and mode != "navigate":
        # Ports are one site, so that a page of another program on this machine has the cookie sent.
        return _refusal("Only the pages of this program may ask for parts of them.")
    if request.method not in ("GET", "HEAD") and request.headers.get("origin") != f"http://{host}":
        return _refusal("Only the pages of this program may change anything.")
    return None


def _name_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        # Brackets without an address in them.
        return None


def _is(given: str | None, secret: str) -> bool:
    return given is not None and compare_digest(given.encode(errors="replace"), secret.encode())


def _refusal(sentence: str) -> Response:
    return PlainTextResponse(sentence + "\n", HTTPStatus.FORBIDDEN)


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                # A page may have a policy of its own.
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
