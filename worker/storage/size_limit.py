"""The largest file that is read. Files are held in memory whole, one for each reading thread."""

from typing import Final

from db.errors import PermanentError
from worker.settings import MAX_PIXELS

#: Four bytes for each pixel of the largest image that is decoded by default.
MAX_FILE_BYTES: Final = 4 * MAX_PIXELS


def too_large(size: int) -> PermanentError:
    """The error for a file of `size` bytes."""
    return PermanentError("too_large", f"the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
