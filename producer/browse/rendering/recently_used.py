"""Keeps the values that were used last, within a number of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, TypeVar

_Value = TypeVar("_Value")

#: More than a browser asks for at once.
_LOCKS: Final = 16


class RecentlyUsed(Generic[_Value]):
    """A cache. Any number of threads may use it, and a value that several ask for at once is made once."""

    def __init__(self, max_bytes: int, size_of: Callable[[_Value], int]) -> None:
        """Keep values of at most `max_bytes` together; `size_of` tells how many one has."""
        self._available = max_bytes
        self._size_of = size_of
        self._values: OrderedDict[Hashable, _Value] = OrderedDict()
        self._lock = Lock()
        self._making = tuple(Lock() for _ in range(_LOCKS))

    def get_or_make(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """The value of a key, which is made if it is not kept. Raises what `make` raises, and keeps nothing then."""
        # First without the lock, which another key may share.
        if (kept := self._find(key)) is not None:
            return kept
        with self._making[hash(key) % _LOCKS]:
            if (kept := self._find(key)) is not None:
                return kept
            value = make()
            self._keep(key, value)
            return value

    def _find(self, key: Hashable) -> _Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def _keep(self, key: Hashable, value: _Value) -> None:
        with self._lock:
            self._values[key] = value
            self._available -= self._size_of(value)
            # One that is too large by itself is not kept either.
            while self._available < 0:
                _, oldest = self._values.popitem(last=False)
                self._available += self._size_of(oldest)
