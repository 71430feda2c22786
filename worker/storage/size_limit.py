"""How large an image's file may be to be read at all: it is held whole, as many at once as there are readers."""

from typing import Final

from db.errors import PermanentError
from worker.settings import MAX_PIXELS

#: Bytes: four for each of the most pixels that are decoded unless somebody chose.
MOST: Final = 4 * MAX_PIXELS


def too_large(size: int) -> PermanentError:
    """What is said of a file of so many bytes."""
    return PermanentError("too_large", f"the file has {size:,} bytes: no image of a scan that is read has so many")
