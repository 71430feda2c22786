"""Settings of `producer nightly`: where it sends summaries."""

from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from worker.settings import WorkerSettings


class NightlySettings(WorkerSettings):
    """The worker's settings, and the addresses for summaries; each address is optional.

    Attributes:
        webhook_url: where each summary is sent as JSON; it may hold a token, so it is a secret.
        smtp_url: the mail server, `smtp://user:password@host:587` or `smtps://...`.
        mail_from: the sender's address; required with `smtp_url`.
        mail_to: the recipients' addresses, separated by commas; required with `smtp_url`.
    """

    # The order matters: the validator of the mail addresses reads `smtp_url`.
    webhook_url: str = Field(default="", repr=False)
    smtp_url: str = Field(default="", repr=False)
    mail_from: str = Field(default="", validate_default=True)
    mail_to: str = Field(default="", validate_default=True)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses of `mail_to`."""
        return _addresses(self.mail_to)

    # Error messages do not show the value, because it may hold a password.

    @field_validator("webhook_url")
    @classmethod
    def _is_a_webhook(cls, url: str) -> str:
        if url and not _is_address(url, "http", "https"):
            raise ValueError("not a web address (https://HOST/PATH)")
        if url and "@" in urlsplit(url).netloc:
            raise ValueError("a user and password in a web address are not sent; put a token into its path or query")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _is_a_mail_server(cls, url: str) -> str:
        if url and not _is_address(url, "smtp", "smtps"):
            raise ValueError("not the address of a mail server (smtp://USER:PASSWORD@HOST:587 or smtps://...)")
        return url

    @field_validator("mail_from", "mail_to")
    @classmethod
    def _are_addresses(cls, text: str, info: ValidationInfo) -> str:
        has_server = bool(info.data.get("smtp_url"))
        if text and not has_server:
            raise ValueError("set CXR_SMTP_URL, the mail server, as well")
        if has_server and not _addresses(text):
            raise ValueError("required with CXR_SMTP_URL")
        if not all(_is_mail_address(address) for address in _addresses(text)):
            raise ValueError("not a mail address (name@host)")
        return text


def _is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port validates it; encoding refuses a host name that is too long for DNS.
        _, host = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return parts.scheme in schemes and bool(host) and url.isascii() and url.isprintable() and " " not in url


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_mail_address(text: str) -> bool:
    name, _, host = text.rpartition("@")
    return bool(name and host) and text.isascii() and text.isprintable() and not set(text) & set(' <>"(),;:\\')
