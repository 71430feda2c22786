"""Sends a summary: to a webhook as JSON, by e-mail as text. Logs name the host alone, for addresses hold secrets."""

import logging
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from db.errors import TemporaryError
from producer.json_output import as_json
from producer.nightly.settings import NightlySettings
from producer.nightly.summary import Summary, headline, to_text

#: Seconds that a connection, and each answer on it, may take.
_TIMEOUT: Final = 15.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A way out of the house."""

    #: As logs say it: `the webhook at HOST`.
    name: str
    #: Raises `TemporaryError` where the summary did not arrive.
    send: Callable[[Summary], None]


def open_channels(settings: NightlySettings) -> tuple[Channel, ...]:
    """The channels that are set up; nothing is sent yet."""
    channels = []
    if settings.webhook_url:
        url = settings.webhook_url
        name = f"the webhook at {urlsplit(url).hostname}"
        channels.append(Channel(name=name, send=lambda summary: post(url, summary, name)))
    if settings.smtp_url:
        server = urlsplit(settings.smtp_url)
        mail = f"the mail server at {server.hostname}"
        channels.append(Channel(name=mail, send=lambda summary: _send_mail(server, to_mail(settings, summary), mail)))
    return tuple(channels)


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is a refusal: what was meant for one host goes to no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def post(url: str, summary: Summary, name: str) -> None:
    """POST a summary as JSON.

    Raises:
        TemporaryError: no answer, or another one than 2xx.
    """
    body, headers = as_json(asdict(summary)).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 -- settings let only http(s) in
    try:
        with urllib.request.build_opener(_StayHere).open(request, timeout=_TIMEOUT):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise TemporaryError(f"{name} answers {error.code}") from None
    except (OSError, HTTPException) as error:
        # Their text may hold the address.
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise TemporaryError(f"{name} does not answer ({type(cause).__name__})") from None


def to_mail(settings: NightlySettings, summary: Summary) -> EmailMessage:
    """A summary as an e-mail."""
    mail = EmailMessage()
    mail["From"], mail["To"] = settings.mail_from, ", ".join(settings.recipients)
    mail["Subject"] = f"nightread: {headline(summary)}"
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=settings.mail_from.rpartition("@")[2])
    # No holiday notice shall come back.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(to_text(summary))
    return mail


def _send_mail(server: SplitResult, mail: EmailMessage, name: str) -> None:
    try:
        with _connect(server) as connection:
            _log_in(connection, server, name)
            refused = connection.send_message(mail)
    except smtplib.SMTPResponseException as error:
        # The server's own words may hold addresses.
        raise TemporaryError(f"{name} answers {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise TemporaryError(f"{name} does not take it ({type(error).__name__})") from None
    if refused:
        # Not tried again: the others have it.
        logger.warning("%s refuses %d of the recipients", name, len(refused))


def _connect(server: SplitResult) -> smtplib.SMTP:
    if server.scheme == "smtps":
        port, secure = server.port or smtplib.SMTP_SSL_PORT, ssl.create_default_context()
        return smtplib.SMTP_SSL(server.hostname or "", port, timeout=_TIMEOUT, context=secure)
    return smtplib.SMTP(server.hostname or "", server.port or smtplib.SMTP_PORT, timeout=_TIMEOUT)


def _log_in(connection: smtplib.SMTP, server: SplitResult, name: str) -> None:
    connection.ehlo()
    secured = server.scheme == "smtps"
    if not secured and connection.has_extn("starttls"):
        connection.starttls(context=ssl.create_default_context())
        secured = True
    if server.username and not secured:
        raise TemporaryError(f"{name} offers no STARTTLS, and a password is not sent in the clear; use smtps://")
    if server.username:
        connection.login(unquote(server.username), unquote(server.password or ""))
