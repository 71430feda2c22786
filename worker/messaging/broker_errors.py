"""Tells a broker that is unavailable, which may pass, from one that refuses this program until a person corrects it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kombu.exceptions import OperationalError
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from db.errors import TemporaryError

#: What celery, kombu or redis raise if the broker is unavailable or refuses.
BROKER_ERRORS: Final = (OperationalError, RedisError, OSError)
_REFUSALS: Final = (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError, NoPermissionError)
#: What Redis and Valkey answer to SELECT where there is no database of that number.
_NO_SUCH_DATABASE: Final = ("DB index is out of range", "invalid DB index", "SELECT is not allowed")


class BrokerRefused(TemporaryError):
    """The broker refuses the password, a command or the database's number.

    For a worker that runs it is temporary: an operator changes a password on both sides, one after the other. A command
    that a person runs ends with this sentence, which repeats no password.
    """


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn the libraries' errors into ours.

    Raises:
        BrokerRefused: the broker refuses this program.
        TemporaryError: the broker does not answer.
    """
    try:
        yield
    except BROKER_ERRORS as error:
        if (refusal := _refusal(error)) is not None:
            raise BrokerRefused(f"CXR_BROKER_URL: the broker refuses this program ({refusal})") from error
        raise TemporaryError(f"the broker does not answer ({type(error).__name__})") from error


def _refusal(error: BaseException | None) -> str | None:
    """The broker's own sentence if it refuses; kombu raises its own error from the client's."""
    while error is not None:
        is_refusal = isinstance(error, _REFUSALS)
        if is_refusal or (isinstance(error, ResponseError) and str(error).startswith(_NO_SUCH_DATABASE)):
            return str(error).rstrip(".")
        error = error.__cause__
    return None
