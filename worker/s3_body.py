"""The bytes of an object as they come over the wire: whole, unchanged and in time, or not at all."""

import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from db.errors import TemporaryError
from worker.size import too_large

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
