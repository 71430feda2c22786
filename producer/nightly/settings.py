"""Settings of the nightly producer: where summaries go."""

from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from worker.settings import WorkerSettings


class NightlySettings(WorkerSettings):
    """The worker's settings and the addresses of summaries; each is optional.

    Attributes:
        webhook_url: gets each summary as JSON; it may hold a token, so it is a secret.
        smtp_url: the mail server, `smtp://user:password@host:587` or `smtps://...`.
        mail_from: the sender's address; needed beside `smtp_url`.
        mail_to: the recipients' addresses, with commas between; needed beside `smtp_url`.
    """

    # In this order: an address is judged by what stands before it.
    webhook_url: str = Field(default="", repr=False)
    smtp_url: str = Field(default="", repr=False)
    mail_from: str = Field(default="", validate_default=True)
    mail_to: str = Field(default="", validate_default=True)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses of `mail_to`."""
        return _addresses(self.mail_to)

    # What follows never says the value: it may hold a password.

    @field_validator("webhook_url")
    @classmethod
    def _is_a_webhook(cls, url: str) -> str:
        if url and not _is_address(url, "http", "https"):
            raise ValueError("not a web address (https://HOST/PATH)")
        if url and "@" in urlsplit(url).netloc:
            raise ValueError("a user and password in a web address are not sent; use a token in its path or query")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _is_a_mail_server(cls, url: str) -> str:
        if url and not _is_address(url, "smtp", "smtps"):
            raise ValueError("not a mail server's address (smtp://USER:PASSWORD@HOST:587 or smtps://...)")
        return url

    @field_validator("mail_from", "mail_to")
    @classmethod
    def _are_addresses(cls, text: str, info: ValidationInfo) -> str:
        wanted = bool(info.data.get("smtp_url"))
        if text and not wanted:
            raise ValueError("needs CXR_SMTP_URL, the mail server")
        if wanted and not _addresses(text):
            raise ValueError("needed beside CXR_SMTP_URL")
        if not all(_is_mail_address(address) for address in _addresses(text)):
            raise ValueError("not a mail address (name@host)")
        return text


def _is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port checks it; a host's name may be too long for DNS.
        _, host = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return parts.scheme in schemes and bool(host) and url.isascii() and url.isprintable() and " " not in url


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_mail_address(text: str) -> bool:
    name, _, host = text.rpartition("@")
    return bool(name and host) and text.isascii() and text.isprintable() and not set(text) & set(' <>"(),;:\\')
