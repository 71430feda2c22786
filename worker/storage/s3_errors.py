"""What an S3 store's refusal means: for one object, for all of them, or only for now."""

from collections.abc import Callable
from typing import Final

from db.errors import PermanentError, TemporaryError

SCHEME: Final = "s3://"
_DENIED: Final = frozenset({"AccessDenied", "Forbidden"})
_NO_CREDENTIALS: Final = "no credentials for the store (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
#: No object behind these will be read until a person mends something.
_STORE_REFUSALS: Final = {
    "NoSuchBucket": "the bucket does not exist",
    "InvalidAccessKeyId": "the store does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the store does not know the session token",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the store's",
    "AuthorizationHeaderMalformed": "the bucket lies in another region (AWS_DEFAULT_REGION)",
    "PermanentRedirect": "the bucket lies in another region (AWS_DEFAULT_REGION)",
}
#: Said with a status below 500, and yet transient.
_TRANSIENT: Final = frozenset(
    {"RequestTimeout", "SlowDown", "TemporaryRedirect", "Throttling", "ThrottlingException", "TooManyRequests"}
)
#: Buckets that have answered this process: one that did so is not refused as a whole by one denial.
_answered: set[str] = set()


class StoreRefused(PermanentError):
    """Not one object but the whole store is refused: what else waits for it need not be tried.

    Attributes:
        store: `s3://bucket/`, what all its locations begin with.
    """

    def __init__(self, bucket: str, sentence: str) -> None:
        super().__init__("s3", sentence)
        self.store = f"{SCHEME}{bucket}/"


def note_answer(bucket: str) -> None:
    """Remember that this process may read from a bucket."""
    _answered.add(bucket)


def refusal(error: Exception, bucket: str, may_be_listed: Callable[[], bool]) -> PermanentError | TemporaryError:
    """What botocore's error means to the scan whose object was asked for.

    Args:
        error: a ClientError, BotoCoreError, or the ValueError of an endpoint that is no address.
        bucket: the object's.
        may_be_listed: asks the store for the bucket itself; called where nothing but a denial is known of it.
    """
    from botocore.exceptions import ClientError, ParamValidationError

    if isinstance(error, ClientError):
        return _of_answer(error, bucket, may_be_listed)
    if isinstance(error, ParamValidationError):
        return PermanentError("s3", "the scan's location is not one that an object can have")
    if _is_setup(error):
        return StoreRefused(bucket, in_words(error))
    return TemporaryError(in_words(error))


def in_words(error: Exception) -> str:
    """The cause in plain words, without any name."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _answer_in_words(_code(error))
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return _NO_CREDENTIALS
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return f"the endpoint does not answer ({type(error).__name__})"
    if isinstance(error, exceptions.ParamValidationError):
        return "no bucket can have this name"
    if isinstance(error, ValueError):
        # Its text repeats the endpoint, which may hold a password.
        return "the S3 client cannot be set up (AWS_ENDPOINT_URL is no address)"
    return f"the S3 client cannot be set up ({error})" if _is_setup(error) else f"no answer ({type(error).__name__})"


def _answer_in_words(code: str) -> str:
    if code.isdigit():
        # No S3 error document: some gateway's page, which says nothing of the object or its store.
        return f"something other than an S3 store answered, with status {code}"
    denied = "these credentials are denied access" if code in _DENIED else f"the store answered {code}"
    return _STORE_REFUSALS.get(code, denied)


def _of_answer(error: Exception, bucket: str, may_be_listed: Callable[[], bool]) -> PermanentError | TemporaryError:
    code, status = _code(error), _status(error)
    if code.isdigit() or code in _TRANSIENT or status >= 500:
        return TemporaryError(in_words(error))
    if code in _STORE_REFUSALS:
        return StoreRefused(bucket, in_words(error))
    if code in _DENIED:
        if bucket in _answered or may_be_listed():
            return PermanentError("s3", "the store denies access to this object")
        return StoreRefused(bucket, in_words(error))
    if code == "NoSuchKey":
        note_answer(bucket)
        return PermanentError("missing", "no object is at the scan's location")
    return PermanentError("s3", in_words(error))


def _is_setup(error: Exception) -> bool:
    from botocore import exceptions

    wrong = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound)
    return isinstance(error, (*wrong, exceptions.ConfigParseError, ValueError))


def _code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code"))


def _status(error: Exception) -> int:
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
