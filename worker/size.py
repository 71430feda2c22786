"""How large an image's file may be to be read at all: it is held whole, as many at once as there are readers."""

from typing import Final

from db.errors import PermanentError

#: Bytes: four for each of the most pixels that are decoded unless somebody chose (`worker.settings.MAX_PIXELS`).
MOST: Final = 400_000_000


def too_large(size: int) -> PermanentError:
    """What is said of a file of so many bytes."""
    return PermanentError("too_large", f"the file has {size:,} bytes: no image of a scan that is read has so many")
