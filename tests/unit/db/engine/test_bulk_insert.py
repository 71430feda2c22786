"""What is done many at a time is done to each once."""

from hypothesis import example, given
from hypothesis import strategies as st

from db.engine.bulk_insert import sliced


@given(count=st.integers(0, 50), size=st.integers(1, 20))
@example(count=40, size=20)
def test_pieces_are_the_whole_in_order_and_never_too_long(count, size):
    """Every scan is sent once; no message is empty."""
    pieces = list(sliced(range(count), size))
    assert [item for piece in pieces for item in piece] == list(range(count))
    assert all(1 <= len(piece) <= size for piece in pieces)
