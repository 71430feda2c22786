"""Slices hold each item once."""

from hypothesis import example, given
from hypothesis import strategies as st

from db.engine.bulk_insert import sliced


@given(count=st.integers(0, 50), size=st.integers(1, 20))
@example(count=40, size=20)
def test_slices_hold_all_items_in_order_and_are_never_too_long(count, size):
    """Every scan is sent once; no message is empty."""
    slices = list(sliced(range(count), size))
    assert [item for part in slices for item in part] == list(range(count))
    assert all(1 <= len(part) <= size for part in slices)
