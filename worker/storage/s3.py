"""Objects in S3, scans and artifacts: one listing a run, one client a process."""

import hashlib
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from db.errors import PermanentError, TemporaryError, UserError
from db.ledger.scans import FoundImage
from worker.storage.matching import Offer
from worker.storage.s3_errors import SCHEME, in_words, note_answer, refusal
from worker.storage.size_limit import too_large

if TYPE_CHECKING:
    from botocore.client import BaseClient

__all__ = ["SCHEME", "list_objects", "list_s3", "read_object", "write_object"]

_making_client = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class S3Object:
    """One line of a listing."""

    #: Relative to the prefix that was listed.
    name: str
    #: `s3://bucket/key`
    location: str
    etag: str
    modified: datetime


def list_s3(address: str) -> Iterator[Offer]:
    """Every object under s3://bucket/prefix as `list_objects` finds it, to choose images from."""
    for found in list_objects(address):
        yield found.name, partial(FoundImage, location=found.location, version=_etag(found.etag))


def list_objects(address: str) -> Iterator[S3Object]:
    """Every object under s3://bucket/prefix, a page at a time, named relative to the prefix.

    Raises:
        UserError: not such an address, or the store refuses or does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise UserError(f"{address}: not of the form s3://bucket/prefix")
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    try:
        for page in _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"]
                yield S3Object(
                    name=key.removeprefix(prefix),
                    location=f"{SCHEME}{bucket}/{key}",
                    etag=entry["ETag"],
                    modified=entry["LastModified"],
                )
    except (ClientError, BotoCoreError, ValueError) as error:
        raise UserError(f"{address}: cannot be listed: {in_words(error)}") from error


def read_object(location: str, seconds: float, *, most: float = math.inf) -> tuple[bytes, str]:
    """The bytes of an object, and its ETag as `etag:...`.

    Args:
        location: `s3://bucket/key`.
        seconds: how long its bytes may take, once the store has begun to answer.
        most: bytes that it may have.

    Raises:
        PermanentError: `missing`, `unreadable`, `too_large` or `s3`; `StoreRefused` where the whole store is refused.
        TemporaryError: the store did not answer, not in time, or with other bytes than it holds.
    """
    # Not urlsplit: '?', '#' and '%' are ordinary characters in a key.
    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    if not bucket or not key:
        raise PermanentError("unreadable", "the scan's location is not of the form s3://bucket/key")
    data, answer = _get(bucket, key, seconds, most)
    # Twice the same: not damage on the way, but a store whose ETags are no MD5.
    if seems_changed(data, answer) and _get(bucket, key, seconds, most)[0] != data:
        raise TemporaryError("the object's bytes were changed on their way, or while they were read")
    return data, _etag(answer["ETag"])


def _get(bucket: str, key: str, seconds: float, most: float) -> tuple[bytes, dict[str, Any]]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer: dict[str, Any] = _s3().get_object(Bucket=bucket, Key=key)
        if "ETag" not in answer:
            # A page that some gateway serves in the store's place, and with 200.
            raise TemporaryError("something other than an S3 store answered")
        note_answer(bucket)
        return read_body(answer, seconds, most), answer
    except (ClientError, BotoCoreError, ValueError) as error:
        raise refusal(error, bucket, partial(_may_be_listed, bucket, key)) from error


def write_object(location: str, path: Path) -> None:
    """Put a file to `s3://bucket/key`; an object appears whole or not at all.

    Raises:
        UserError: the store refuses it or does not answer, or the file cannot be read.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    try:
        with path.open("rb") as file:
            _s3().put_object(Bucket=bucket, Key=key, Body=file)
    except (ClientError, BotoCoreError, ValueError) as error:
        raise UserError(f"{location}: cannot be written: {in_words(error)}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _may_be_listed(bucket: str, key: str) -> bool:
    """Whether the store lets this process see the bucket at all, or the key's own part of it.

    Raises:
        TemporaryError: it does not say.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    except (ClientError, BotoCoreError) as error:
        # A store that is busy denies nothing.
        if isinstance(meant := refusal(error, bucket, lambda: False), TemporaryError):
            raise meant from error
        return False
    return True


def _etag(quoted: str) -> str:
    return f"etag:{quoted.strip(chr(34))}"


def _s3() -> "BaseClient":
    """One client for the process: boto3's clients are thread-safe, but making one is not, and costs 50 ms."""
    with _making_client:
        return _s3_client()


@cache
def _s3_client() -> "BaseClient":
    import boto3
    from botocore.config import Config

    # Short: what takes longer is handed back, and must not outlive the message's visibility.
    patience = {"connect_timeout": 5, "read_timeout": 10, "retries": {"mode": "standard", "total_max_attempts": 2}}
    # A connection for every thread that reads.
    return boto3.Session().client("s3", config=Config(max_pool_connections=max(32, os.cpu_count() or 1), **patience))


#: Bytes asked for at once.
_PIECE: Final = 1 << 18
_MD5: Final = re.compile(r"[0-9a-f]{32}")


def read_body(answer: Mapping[str, Any], seconds: float, most: float) -> bytes:
    """All bytes of an answer to GetObject, as many as it announced, and of its checksum where it has one.

    Args:
        answer: botocore's.
        seconds: how long the body may take, and a silence of the client's `read_timeout` more.
        most: bytes that it may have.

    Raises:
        PermanentError: `too_large`; then nothing of it was read.
        TemporaryError: it took longer.
        BotoCoreError: it ended early, broke off, or is not what its checksum says.
    """
    if (size := answer.get("ContentLength", 0)) > most:
        raise too_large(size)
    body = answer["Body"]
    # The only way below botocore's checks, which stay above it.
    body._raw_stream = _Timed(body._raw_stream, seconds)  # noqa: SLF001
    return bytes(body.read())


class _Timed:
    """A stream of bytes that may take so many seconds in all. Its own timeout is one of each byte."""

    def __init__(self, raw: Any, seconds: float) -> None:
        self._raw = raw
        self._seconds = seconds

    def read(self, _amount: int | None = None) -> bytes:
        until = time.monotonic() + self._seconds
        pieces = []
        while piece := self._raw.read1(_PIECE):
            pieces.append(piece)
            if time.monotonic() > until:
                self._raw.close()
                raise TemporaryError(f"the object's bytes took longer than {self._seconds:.0f} s")
        return b"".join(pieces)


def seems_changed(data: bytes, answer: Mapping[str, Any]) -> bool:
    """Whether the ETag looks like the MD5 of an object and is not that of these bytes.

    It is none of an upload in parts, nor of one under a key of the customer's or of KMS; other stores may have ETags
    of their own.
    """
    etag = answer["ETag"].strip('"')
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in answer
    if encrypted or not _MD5.fullmatch(etag):
        return False
    return bool(hashlib.md5(data, usedforsecurity=False).hexdigest() != etag)
