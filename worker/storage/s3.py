"""Lists, reads and writes objects in S3: one listing per run, one client per process."""

import hashlib
import math
import os
import re
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from db.errors import PermanentError, TemporaryError, UserError
from db.ledger.scans import FoundImage
from worker.storage.matching import Candidate
from worker.storage.range_reader import RangeReader
from worker.storage.s3_errors import SCHEME, classify_error, describe_error, note_answer
from worker.storage.s3_pages import list_pages
from worker.storage.size_limit import MAX_FILE_BYTES, too_large
from worker.storage.versions import Version

if TYPE_CHECKING:
    from botocore.client import BaseClient

__all__ = ["SCHEME", "delete_object", "list_objects", "list_s3", "open_object_ranges", "read_object", "write_object"]

#: Bytes of one read.
_READ_BYTES: Final = 1 << 18
#: Bytes of the first read of an object of which only the header is wanted. Most headers are shorter.
_HEADER_BYTES: Final = 2**16
#: How long one read of a header may take.
_HEADER_SECONDS: Final = 60.0
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_REPLACED: Final = "the object was replaced after it was listed"
_GZIP_MAGIC: Final = b"\x1f\x8b"
#: Sorts before every other.
_UNKNOWN_TIME: Final = datetime.min.replace(tzinfo=UTC)

_client_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class S3Object:
    """One object of a listing."""

    #: Relative to the prefix that was listed.
    name: str
    #: `s3://bucket/key`
    location: str
    version: Version
    #: When it was written.
    modified: datetime


def list_s3(address: str) -> Iterator[Candidate]:
    """Yield every object under `s3://bucket/prefix` as a candidate; if there is none, the object at the address itself.

    Raises what `list_objects` raises.
    """
    is_empty = True
    for found in list_objects(address):
        is_empty = False
        yield _candidate(found)
    if is_empty:
        yield from map(_candidate, _list_one(address))


def _candidate(found: "S3Object") -> Candidate:
    return found.name, partial(FoundImage, location=found.location, version=str(found.version) or None)


def list_objects(address: str) -> Iterator[S3Object]:
    """Yield every object under `s3://bucket/prefix`, page by page, named relative to the prefix.

    Raises:
        UserError: the address has another form, or the store refuses, does not answer or does not list everything.
    """
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise UserError(f"{address}: not of the form s3://bucket/prefix")
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    where = {"Bucket": bucket, "Prefix": prefix}
    with _listing(address):
        pages = list_pages(address, partial(_s3().list_objects_v2, **where), partial(_s3().list_objects, **where))
        for entry in chain.from_iterable(pages):
            yield _object(bucket, entry, prefix)


def _list_one(address: str) -> Iterator[S3Object]:
    """Yield the object at an address, if there is one, named by the last part of its key."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    with _listing(address):
        # Of all keys that begin with this one, it is the first.
        page = _s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        for entry in page.get("Contents", ()):
            if entry["Key"] == key:
                yield _object(bucket, entry, key.removesuffix(key.rpartition("/")[2]))


@contextmanager
def _listing(address: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError, ValueError) as error:
        raise UserError(f"{address}: cannot be listed: {describe_error(error)}") from error


def _object(bucket: str, entry: Mapping[str, Any], prefix: str) -> S3Object:
    key = entry["Key"]
    return S3Object(
        name=key.removeprefix(prefix),
        location=f"{SCHEME}{bucket}/{key}",
        version=_version(entry, entry.get("Size")),
        modified=entry.get("LastModified") or _UNKNOWN_TIME,
    )


def read_object(location: str, seconds: float, *, version: str | None = None, max_bytes: float = math.inf) -> bytes:
    """Return the bytes of an object, unpacked if the store says that they are compressed by gzip.

    Args:
        location: `s3://bucket/key`.
        seconds: how long the bytes may take, once the store has begun to answer.
        version: as it was listed (see `Version`); None takes any.
        max_bytes: the largest size that is read.

    Raises:
        PermanentError: `missing`, `unreadable`, `too_large` or `s3`, as `StoreRefused` if the whole store is refused;
            `changed` if the object has another version now.
        TemporaryError: the store did not answer in time, or sent other bytes than it holds.
    """
    # urlsplit is not used, because '?', '#' and '%' are ordinary characters in a key.
    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    if not bucket or not key:
        raise PermanentError("unreadable", "the scan's location is not of the form s3://bucket/key")
    data, sent, answer = _get(bucket, key, seconds, max_bytes)
    # If the same bytes come twice, nothing was damaged on the way: the store's ETags are not MD5 hashes. What gzip
    # unpacked had the right checksum.
    if data is sent and has_etag_mismatch(data, answer) and _get(bucket, key, seconds, max_bytes)[0] != data:
        raise TemporaryError("the object's bytes were damaged on the way, or changed while they were read")
    # Of compressed bytes a listing may give the size before or after.
    if version and not _is_version(Version.parse(version), data, _version(answer, len(data) if data is sent else None)):
        raise PermanentError("changed", _REPLACED)
    return data


def _get(bucket: str, key: str, seconds: float, max_bytes: float) -> tuple[bytes, bytes, dict[str, Any]]:
    """The object's bytes, the same as they were sent, and the answer that brought them."""
    with _classified(bucket, key):
        answer: dict[str, Any] = _s3().get_object(Bucket=bucket, Key=key)
        _check_answer(answer, bucket)
        sent = read_body(answer, seconds, max_bytes)
        return _unpack(sent, answer, max_bytes), sent, answer


@contextmanager
def _classified(bucket: str, key: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError, ValueError) as error:
        raise classify_error(error, bucket, partial(_may_be_listed, bucket, key)) from error


def _check_answer(answer: Mapping[str, Any], bucket: str) -> None:
    # A gateway may answer with a page of its own, and with status 200.
    if "ETag" not in answer and ("LastModified" not in answer or "html" in answer.get("ContentType", "")):
        raise TemporaryError("something other than an S3 store answered")
    note_answer(bucket)


@contextmanager
def open_object_ranges(found: FoundImage) -> Iterator[RangeReader]:
    """Open an object that was listed, to read parts of it.

    Raises:
        PermanentError, TemporaryError: see `read_object`; while it is read.
    """
    bucket, _, key = found.location.removeprefix(SCHEME).partition("/")
    listed = Version.parse(found.version) if found.version else Version()
    size = sys.maxsize if listed.size is None else listed.size
    yield RangeReader(partial(_read_range, bucket, key, listed), size, _HEADER_BYTES)


def _read_range(bucket: str, key: str, listed: Version, start: int, count: int) -> bytes:
    with _classified(bucket, key):
        answer: dict[str, Any] = _s3().get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + count - 1}")
        _check_answer(answer, bucket)
        if not listed.may_be(_version(answer, None)):
            answer["Body"].close()
            raise PermanentError("changed", _REPLACED)
        if "gzip" in answer.get("ContentEncoding", ""):
            # A part of what is compressed tells nothing.
            answer["Body"].close()
            return read_object(f"{SCHEME}{bucket}/{key}", _HEADER_SECONDS, max_bytes=MAX_FILE_BYTES)[start:][:count]
        if "ContentRange" in answer:
            return read_body(answer, _HEADER_SECONDS, count)
        # The store knows no ranges and sends it all.
        data = bytes(answer["Body"].read(start + count))[start:]
        answer["Body"].close()
        return data


def _unpack(sent: bytes, answer: Mapping[str, Any], max_bytes: float) -> bytes:
    """The bytes that were compressed for sending or storing; others, and damaged ones, as they are."""
    # Some stores unpack an object and still call it compressed. No image begins like gzip.
    if "gzip" not in answer.get("ContentEncoding", "") or not sent.startswith(_GZIP_MAGIC):
        return sent
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        data = stream.decompress(sent, 0 if math.isinf(max_bytes) else int(max_bytes) + 1)
    except zlib.error:
        return sent
    if len(data) > max_bytes:
        raise too_large(len(data))
    return data if stream.eof else sent


def write_object(location: str, path: Path) -> None:
    """Upload a file to `s3://bucket/key`. An object appears whole or not at all.

    Raises:
        UserError: the store refuses it or does not answer, or the file cannot be read.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    try:
        with path.open("rb") as file:
            _s3().put_object(Bucket=bucket, Key=key, Body=file)
    except (ClientError, BotoCoreError, ValueError) as error:
        raise UserError(f"{location}: cannot be written: {describe_error(error)}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def delete_object(location: str) -> None:
    """Delete `s3://bucket/key`; an object that is not there is no error.

    Raises:
        UserError: the store refuses it or does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    try:
        _s3().delete_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError, ValueError) as error:
        raise UserError(f"{location}: cannot be deleted: {describe_error(error)}") from error


def _may_be_listed(bucket: str, key: str) -> bool:
    """Whether the store lets this process list the bucket, at least under the key.

    Raises:
        TemporaryError: the store does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    except (ClientError, BotoCoreError) as error:
        # A busy store has not denied anything.
        if isinstance(classified := classify_error(error, bucket, lambda: False), TemporaryError):
            raise classified from error
        return False
    return True


def _version(told: Mapping[str, Any], size: int | None) -> Version:
    """The version of an object that an entry of a listing, or the answer that brings the object, tells."""
    modified = told.get("LastModified")
    return Version(
        etag=_bare(told.get("ETag", "")) or None,
        size=size,
        modified=round(modified.timestamp() * 1000) * 1_000_000 if modified else None,
    )


def _is_version(listed: Version, data: bytes, found: Version) -> bool:
    """Whether bytes that were read are of the listed version; a listed ETag that is their hash is proof enough."""
    return listed.may_be(found) or listed.etag == _md5(data)


def _bare(etag: str) -> str:
    return etag.strip('"')


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _s3() -> "BaseClient":
    """The client of this process. boto3's clients are thread-safe, but making one is not, and takes 50 ms."""
    with _client_lock:
        return _s3_client()


@cache
def _s3_client() -> "BaseClient":
    import boto3
    from botocore.config import Config

    # Short timeouts: a chunk that takes longer is handed back, which must happen within the visibility timeout.
    timeouts = {"connect_timeout": 5, "read_timeout": 10, "retries": {"mode": "standard", "total_max_attempts": 2}}
    # One connection for each reading thread.
    return boto3.Session().client("s3", config=Config(max_pool_connections=max(32, os.cpu_count() or 1), **timeouts))


def read_body(answer: Mapping[str, Any], seconds: float, max_bytes: float) -> bytes:
    """Read the whole body of an answer to GetObject; botocore checks its length, and its checksum if it has one.

    Args:
        answer: botocore's answer.
        seconds: how long the body may take. A silence is noticed only after the client's `read_timeout`.
        max_bytes: the largest size that is read.

    Raises:
        PermanentError: `too_large`; nothing of the body was read.
        TemporaryError: the body took longer than `seconds`.
        BotoCoreError: the body ended early, the connection broke, or the checksum does not match.
    """
    if (size := answer.get("ContentLength", 0)) > max_bytes:
        raise too_large(size)
    body = answer["Body"]
    # This is the only place below botocore's checks, which still see the bytes.
    body._raw_stream = _TimedStream(body._raw_stream, seconds)  # noqa: SLF001
    return bytes(body.read())


class _TimedStream:
    """A stream with a time limit for all of its bytes; its own timeout restarts with every byte."""

    def __init__(self, raw: Any, seconds: float) -> None:
        self._raw = raw
        self._seconds = seconds

    def read(self, _amount: int | None = None) -> bytes:
        deadline = time.monotonic() + self._seconds
        parts = []
        while part := self._raw.read1(_READ_BYTES):
            parts.append(part)
            if time.monotonic() > deadline:
                self._raw.close()
                raise TemporaryError(f"the object's bytes took longer than {self._seconds:.0f} s")
        return b"".join(parts)


def has_etag_mismatch(data: bytes, answer: Mapping[str, Any]) -> bool:
    """Whether the ETag looks like an MD5 hash but is not that of these bytes.

    S3's ETag is not the MD5 hash of an object that was uploaded in parts or is encrypted with a key of the customer or
    of KMS. Other stores may use ETags of their own.
    """
    etag = _bare(answer.get("ETag", ""))
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in answer
    if encrypted or not _MD5.fullmatch(etag):
        return False
    return _md5(data) != etag
