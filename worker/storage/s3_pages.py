"""Pages through the listing of a prefix, and refuses one that a store cuts short or would never end."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from db.errors import UserError

_Ask: TypeAlias = Callable[..., dict[str, Any]]
#: A store that skips deleted objects may send pages without any, but not without end.
_MAX_EMPTY_PAGES: Final = 1000


def list_pages(address: str, ask: _Ask, ask_v1: _Ask) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield the entries of each page of a listing; a page is requested once the one before is used up.

    Args:
        address: what is listed, for the error's sentence.
        ask: requests a page by ListObjectsV2, or a further one by its `ContinuationToken`.
        ask_v1: requests the page after a `Marker` by ListObjects, for a store that says that there is more but gives
            no token: it knows nothing newer.

    Raises:
        UserError: the store says that there is more, but sends nothing new.
    """
    place, pages, empty, count = dict[str, str](), set[str](), 0, 0
    while True:
        page = (ask_v1 if "Marker" in place else ask)(**place)
        entries = page.get("Contents", ())
        # Stores need not sort: a page is recognised by its first key, and a place in the listing by its token.
        name = f"key {entries[0]['Key']}" if entries else f"place {place}"
        empty = 0 if entries else empty + 1
        if name in pages or empty > _MAX_EMPTY_PAGES:
            raise _incomplete(address, count)
        pages.add(name)
        count += len(entries)
        yield entries
        token = page.get("NextContinuationToken")
        if not page.get("IsTruncated", token is not None):
            return
        if not token and not entries:
            raise _incomplete(address, count)
        place = {"ContinuationToken": token} if token else {"Marker": page.get("NextMarker") or entries[-1]["Key"]}


def _incomplete(address: str, count: int) -> UserError:
    return UserError(
        f"{address}: cannot be listed completely: after {count:,} objects the store says that there are more but sends "
        "no others; list prefixes with fewer objects, or update the store or the gateway before it"
    )
