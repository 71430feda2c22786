"""The cache of what is shown holds a number of bytes, and makes each value once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer.browse.rendering.recently_used import RecentlyUsed


def test_the_value_that_was_not_used_for_longest_makes_room():
    cache, made = RecentlyUsed[bytes](10, len), []

    def get(key, size=4):
        return cache.get_or_make(key, lambda: made.append(key) or bytes(size))

    assert [get(key) for key in ("a", "b", "a", "c")] == [bytes(4)] * 4
    assert made == ["a", "b", "c"]
    get("a")
    get("b")
    assert made == ["a", "b", "c", "b"]
    # One that is larger than the cache is given all the same.
    assert get("large", 11) == bytes(11)
    get("large", 11)
    assert made[-2:] == ["large", "large"]
    get("d")
    get("d")
    assert made[-1] == "d"


def test_a_value_that_several_ask_for_at_once_is_made_once():
    cache, made, asked = RecentlyUsed[bytes](10, len), [], threading.Barrier(4)

    def make():
        made.append(1)
        time.sleep(0.1)
        return b"value"

    def ask():
        asked.wait()
        return cache.get_or_make("a", make)

    with ThreadPoolExecutor(4) as pool:
        values = [future.result() for future in [pool.submit(ask) for _ in range(4)]]
    assert values == [b"value"] * 4
    assert made == [1]


def test_a_kept_value_does_not_wait_for_another_that_is_made():
    """Whichever locks they share: a page of runs must not wait for an AUROC of a million scans."""
    cache, done = RecentlyUsed[bytes](100, len), threading.Event()
    keys = range(40)
    for key in keys:
        cache.get_or_make(key, lambda: b"v")

    def make():
        assert done.wait(10)
        return b"slow"

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(cache.get_or_make, len(keys), make)
        kept = pool.submit(lambda: [cache.get_or_make(key, bytes) for key in keys])
        try:
            assert kept.result(5) == [b"v"] * len(keys)
        finally:
            done.set()
        assert slow.result(5) == b"slow"


def test_after_a_failure_the_value_is_made_by_the_next():
    cache = RecentlyUsed[bytes](10, len)

    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("a", lambda: bytes(1 // 0))
    assert cache.get_or_make("a", lambda: b"value") == b"value"
