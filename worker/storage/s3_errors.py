"""Says what an error of an S3 store means: it concerns one object, the whole store, or only this moment."""

from collections.abc import Callable
from typing import Final

from db.errors import PermanentError, TemporaryError

SCHEME: Final = "s3://"
_DENIED_CODES: Final = frozenset({"AccessDenied", "Forbidden"})
_NO_CREDENTIALS: Final = "no credentials for the store (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
#: Error codes after which no object can be read until a person fixes something, and what to say.
_STORE_REFUSALS: Final = {
    "NoSuchBucket": "the bucket does not exist",
    "InvalidAccessKeyId": "the store does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not match the access key",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the store does not know the session token",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the store's",
    "AuthorizationHeaderMalformed": "the bucket lies in another region (AWS_DEFAULT_REGION)",
    "PermanentRedirect": "the bucket lies in another region (AWS_DEFAULT_REGION)",
}
#: Error codes with a status below 500 that are temporary.
_TEMPORARY_CODES: Final = frozenset(
    {"RequestTimeout", "SlowDown", "TemporaryRedirect", "Throttling", "ThrottlingException", "TooManyRequests"}
)
#: Buckets that have answered this process. One denied object does not mean that such a bucket is refused as a whole.
_answering_buckets: set[str] = set()


class StoreRefused(PermanentError):
    """The whole store is refused, not just one object, so its other objects need not be tried.

    Attributes:
        store: `s3://bucket/`, with which all its locations begin.
    """

    def __init__(self, bucket: str, sentence: str) -> None:
        super().__init__("s3", sentence)
        self.store = f"{SCHEME}{bucket}/"


def note_answer(bucket: str) -> None:
    """Remember that a bucket has answered this process."""
    _answering_buckets.add(bucket)


def classify_error(error: Exception, bucket: str, may_be_listed: Callable[[], bool]) -> PermanentError | TemporaryError:
    """Turn an error of botocore into the error of the scan whose object was requested.

    Args:
        error: a ClientError, a BotoCoreError, or the ValueError of an invalid endpoint address.
        bucket: the object's bucket.
        may_be_listed: asks the store whether the bucket may be listed. It is called only if access is denied and the
            bucket has not answered before.
    """
    from botocore.exceptions import ClientError, ParamValidationError

    if isinstance(error, ClientError):
        return _classify_answer(error, bucket, may_be_listed)
    if isinstance(error, ParamValidationError):
        return PermanentError("s3", "the scan's location is not a valid bucket and key")
    if _is_setup_error(error):
        return StoreRefused(bucket, describe_error(error))
    return TemporaryError(describe_error(error))


def describe_error(error: Exception) -> str:
    """The cause in plain words, without the name of any object."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _describe_answer(_code(error))
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return _NO_CREDENTIALS
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return f"the endpoint does not answer ({type(error).__name__})"
    if isinstance(error, exceptions.ParamValidationError):
        return "this is not a valid bucket name"
    if isinstance(error, ValueError):
        # The error's text repeats the endpoint, which may hold a password.
        return "the S3 client cannot be set up (AWS_ENDPOINT_URL is not a valid address)"
    setup = f"the S3 client cannot be set up ({error})"
    return setup if _is_setup_error(error) else f"the store gave no usable answer ({type(error).__name__})"


def _describe_answer(code: str) -> str:
    if code.isdigit():
        # This is a gateway's page, not an S3 error document. It says nothing about the object or its store.
        return f"something other than an S3 store answered, with status {code}"
    denied = "these credentials are denied access" if code in _DENIED_CODES else f"the store answered {code}"
    return _STORE_REFUSALS.get(code, denied)


def _classify_answer(
    error: Exception, bucket: str, may_be_listed: Callable[[], bool]
) -> PermanentError | TemporaryError:
    code, status = _code(error), _status(error)
    if code.isdigit() or code in _TEMPORARY_CODES or status >= 500:
        return TemporaryError(describe_error(error))
    if code in _STORE_REFUSALS:
        return StoreRefused(bucket, describe_error(error))
    if code in _DENIED_CODES:
        if bucket in _answering_buckets or may_be_listed():
            return PermanentError("s3", "the store denies access to this object")
        return StoreRefused(bucket, describe_error(error))
    if code == "NoSuchKey":
        note_answer(bucket)
        return PermanentError("missing", "there is no object at the scan's location")
    return PermanentError("s3", describe_error(error))


def _is_setup_error(error: Exception) -> bool:
    from botocore import exceptions

    wrong = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound)
    return isinstance(error, (*wrong, exceptions.ConfigParseError, ValueError))


def _code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code"))


def _status(error: Exception) -> int:
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
