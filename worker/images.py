"""Where encoded images come from: a folder or an S3 prefix, told apart by the address."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from db.errors import PermanentError, TemporaryError, UserError

if TYPE_CHECKING:
    from botocore.client import BaseClient

SCHEME: Final = "s3://"
_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
#: Kaggle and NIH unpack to these; `images_001/images` to `images_012/images` are NIH's full set.
_BESIDE_CSV: Final = ("images", "images_*/images", "sample/images")
#: S3 says these of an object or bucket that will not appear by waiting.
_S3_ABSENT: Final = frozenset({"NoSuchKey", "404", "NoSuchBucket"})
_making_client = threading.Lock()
_S3_FORBIDDEN: Final = frozenset({"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """The bytes of an image and what identifies them (`sha256:...` or `etag:...`)."""

    data: bytes
    content: str


def find_images(csv: Path | None, images: str | None) -> dict[str, str]:
    """File name to location of every image in a folder or prefix, or beside the CSV where none is named.

    Raises:
        UserError: the folder, bucket or prefix cannot be listed.
    """
    if images and images.startswith(SCHEME):
        return dict(_list_s3(images))
    if images:
        return dict(_list_folder(Path(images)))
    if csv is None:
        raise UserError("neither --csv nor --images: nothing to look for")
    return {name: where for folder in _folders_beside(csv) for name, where in _list_folder(folder)}


def read_image(location: str) -> EncodedImage:
    """Read one image whole.

    Raises:
        PermanentError: `missing`, `unreadable` or `s3`.
        TemporaryError: the disk or the store did not answer.
    """
    return _read_s3(location) if location.startswith(SCHEME) else _read_file(Path(location))


def _folders_beside(csv: Path) -> list[Path]:
    here = csv.absolute().parent
    return [here, *(folder for pattern in _BESIDE_CSV for folder in sorted(here.glob(pattern)) if folder.is_dir())]


def _list_folder(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        for path in folder.absolute().iterdir():
            if path.suffix.lower() in _SUFFIXES:
                yield path.name, str(path)
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error


def _read_file(path: Path) -> EncodedImage:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise PermanentError("missing", "no image is at the scan's location") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise PermanentError("unreadable", f"the image cannot be read ({error.strerror})") from error
    except OSError as error:
        raise TemporaryError(f"the disk did not answer ({error.strerror})") from error
    return EncodedImage(data=data, content=f"sha256:{hashlib.sha256(data).hexdigest()}")


def _list_s3(address: str) -> Iterator[tuple[str, str]]:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = _bucket_and_key(address)
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    try:
        pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", ()):
                key = entry["Key"]
                if key.lower().endswith(_SUFFIXES):
                    yield key.rsplit("/", 1)[-1], f"{SCHEME}{bucket}/{key}"
    except (ClientError, BotoCoreError) as error:
        raise UserError(f"{address}: cannot be listed ({error})") from error


def _read_s3(location: str) -> EncodedImage:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    bucket, key = _bucket_and_key(location)
    try:
        answer: dict[str, Any] = _s3().get_object(Bucket=bucket, Key=key)
        return EncodedImage(data=answer["Body"].read(), content=f"etag:{answer['ETag'].strip(chr(34))}")
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in _S3_ABSENT:
            raise PermanentError("missing", "no object is at the scan's location") from error
        if code in _S3_FORBIDDEN:
            raise PermanentError("s3", f"the store refused the object ({code})") from error
        raise TemporaryError(f"the store answered {code}") from error
    except NoCredentialsError as error:
        raise PermanentError("s3", "this worker has no credentials for the store") from error
    except BotoCoreError as error:
        raise TemporaryError(f"the store did not answer ({type(error).__name__})") from error


def _bucket_and_key(address: str) -> tuple[str, str]:
    # Not urlsplit alone: '?' and '#' are ordinary characters in a key.
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not bucket or urlsplit(address).scheme != "s3":
        raise UserError(f"{address}: not of the form s3://bucket/prefix")
    return bucket, key


def _s3() -> "BaseClient":
    """One client for the process: boto3's clients are thread-safe, but making one is not, and costs 50 ms."""
    with _making_client:
        return _s3_client()


@cache
def _s3_client() -> "BaseClient":
    import boto3
    from botocore.config import Config

    # Short: what takes longer is handed back, and must not outlive the message's visibility.
    patience = {"connect_timeout": 5, "read_timeout": 10, "retries": {"mode": "standard", "max_attempts": 2}}
    return boto3.client("s3", config=Config(max_pool_connections=32, **patience))
