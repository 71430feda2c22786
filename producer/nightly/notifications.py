"""Sends summaries: to a webhook as JSON, by e-mail as text. Logs name only the host, because addresses hold secrets."""

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

#: For connecting, and for each answer.
_TIMEOUT_SECONDS: Final = 15.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A place where summaries are sent."""

    #: For logs: `the webhook at HOST`.
    name: str
    #: Raises `TemporaryError` if the summary did not arrive.
    send: Callable[[Summary], None]


def open_channels(settings: NightlySettings) -> tuple[Channel, ...]:
    """The channels that are set up in the settings; nothing is sent yet."""
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


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an error: a summary for one host must not go to another."""

    def redirect_request(self, *_: Any) -> None:
        """Do not follow it."""


def post(url: str, summary: Summary, name: str) -> None:
    """POST a summary as JSON.

    Raises:
        TemporaryError: there is no answer, or its status is not 2xx.
    """
    body, headers = as_json(asdict(summary)).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 -- settings let only http(s) in
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise TemporaryError(f"{name} answers with status {error.code}") from None
    except (OSError, HTTPException) as error:
        # Only the type: the message may hold the address.
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise TemporaryError(f"{name} does not answer ({type(cause).__name__})") from None


def to_mail(settings: NightlySettings, summary: Summary) -> EmailMessage:
    """Make an e-mail of a summary."""
    mail = EmailMessage()
    mail["From"], mail["To"] = settings.mail_from, ", ".join(settings.recipients)
    mail["Subject"] = f"nightread: {headline(summary)}"
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=settings.mail_from.rpartition("@")[2])
    # Keeps out-of-office replies away.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(to_text(summary))
    return mail


def _send_mail(server: SplitResult, mail: EmailMessage, name: str) -> None:
    try:
        with _connect(server) as connection:
            _log_in(connection, server, name)
            refused = connection.send_message(mail)
    except smtplib.SMTPResponseException as error:
        # Only the code: the server's message may hold addresses.
        raise TemporaryError(f"{name} answers with code {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise TemporaryError(f"{name} does not accept it ({type(error).__name__})") from None
    if refused:
        # It is not tried again, because the others have got it.
        logger.warning("%s refuses %d of the recipients; the others have got the summary", name, len(refused))


def _connect(server: SplitResult) -> smtplib.SMTP:
    if server.scheme == "smtps":
        port, secure = server.port or smtplib.SMTP_SSL_PORT, ssl.create_default_context()
        return smtplib.SMTP_SSL(server.hostname or "", port, timeout=_TIMEOUT_SECONDS, context=secure)
    return smtplib.SMTP(server.hostname or "", server.port or smtplib.SMTP_PORT, timeout=_TIMEOUT_SECONDS)


def _log_in(connection: smtplib.SMTP, server: SplitResult, name: str) -> None:
    connection.ehlo()
    secured = server.scheme == "smtps"
    if not secured and connection.has_extn("starttls"):
        connection.starttls(context=ssl.create_default_context())
        secured = True
    if server.username and not secured:
        raise TemporaryError(f"{name} offers no STARTTLS, and the password is not sent unencrypted; use smtps://")
    if server.username:
        connection.login(unquote(server.username), unquote(server.password or ""))
