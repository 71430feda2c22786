"""Looks into files, in parallel: which are images, and what the headers of DICOM say of them."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import BinaryIO, Final, TypeAlias, cast

from db.errors import PermanentError, TemporaryError, UserError
from db.ledger.scans import FoundImage, ImageHeader
from worker.dicom.dataset import has_preamble
from worker.dicom.header import NoImage, read_header
from worker.storage.content import OTHER_CONTENTS, SNIFFED_BYTES, image_format, other_content
from worker.storage.folder import open_ranges
from worker.storage.matching import Candidate, Examined, LeftOut, has_image_name, has_plain_suffix
from worker.storage.range_reader import RangeReader
from worker.storage.s3 import SCHEME, open_object_ranges
from worker.storage.s3_errors import StoreRefused

#: Reading is mostly waiting for a disk, a share or a store.
_THREADS: Final = 16
#: Files that a thread takes at a time.
_FILES_PER_TASK: Final = 32
#: How much is examined ahead of what is used, so that memory does not grow with the listing.
_MAX_TASKS: Final = 2 * _THREADS

_Task: TypeAlias = "Future[list[tuple[str, Examined]]]"


@dataclass(frozen=True, kw_only=True)
class Examiner:
    """Examines the files of a listing."""

    #: Files named like a PNG, JPEG, TIFF or BMP are not read: they are what their name says.
    trusts_names: bool = False
    #: By `FoundImage.seen_as`, the SOP Instance UIDs of files that were read before and are not read again.
    known: Mapping[str, str] = field(default_factory=dict)

    def examine(self, candidates: Iterable[Candidate]) -> Iterator[tuple[str, Examined]]:
        """Yield each candidate, in order, with its image, or the key under which it is left out.

        Raises:
            UserError: the store refuses to be read.
        """
        waiting, rest = deque[_Task](), iter(candidates)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            while piece := list(islice(rest, _FILES_PER_TASK)):
                waiting.append(pool.submit(self._examine_piece, piece))
                if len(waiting) == _MAX_TASKS:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _examine_piece(self, candidates: list[Candidate]) -> list[tuple[str, Examined]]:
        return [
            (name, describe if isinstance(describe, LeftOut) else self._examine_one(name, describe()))
            for name, describe in candidates
        ]

    def _examine_one(self, name: str, found: FoundImage) -> Examined:
        if self.trusts_names and has_plain_suffix(name):
            return found
        if uid := self.known.get(found.seen_as or ""):
            return replace(found, header=ImageHeader(sop_instance_uid=uid))
        try:
            with _open(found) as file:
                return _look_into(name, found, file)
        except StoreRefused as error:
            raise UserError(f"{error.store}: cannot be read: {error}") from error
        except (PermanentError, TemporaryError):
            # The worker says what is wrong with an image. Of DICOM it is not known which scan this is, and a worker
            # that can read it would score it as another one. The next listing may find out.
            return found if has_plain_suffix(name) else LeftOut.UNREADABLE


def _open(found: FoundImage) -> AbstractContextManager[RangeReader]:
    if found.location.startswith(SCHEME):
        return open_object_ranges(found)
    return open_ranges(found.location, found.version)


def _look_into(name: str, found: FoundImage, file: RangeReader) -> Examined:
    head = file.read(SNIFFED_BYTES)
    match image_format(head):
        case "dicom":
            file.seek(0)
            return _with_header(name, found, file, is_certain=has_preamble(head))
        case None if not has_image_name(name):
            return other_content(head).key
    return found


def _with_header(name: str, found: FoundImage, file: RangeReader, *, is_certain: bool) -> Examined:
    is_certain |= has_image_name(name)
    try:
        header = read_header(cast("BinaryIO", file))
    except PermanentError as error:
        if error.reason != "truncated":
            raise
        # The worker says what is wrong with it, under the file's own name.
        return found if is_certain else OTHER_CONTENTS[-1].key
    if isinstance(header, NoImage):
        return header
    # DICOM without a prefix is told by four bytes, with which other files may begin, too.
    return replace(found, header=header) if is_certain or header.sop_instance_uid else OTHER_CONTENTS[-1].key
