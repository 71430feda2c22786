"""A costly module is imported once there is enough work to pay for it."""

import numpy as np

from tests.support.encoded_images import png_of
from tests.support.world import radiograph, wait_until
from worker.images import pixels
from worker.images.fast.lazy_import import LazyImport

IMAGE = radiograph(1, side=70)
ENCODED = png_of(IMAGE)


def test_the_quick_reader_takes_over_after_enough_pngs(monkeypatch):
    """cv2 decodes them until the fast code is compiled, to the same pixels."""
    reader = LazyImport("worker.images.fast.png_unfilter", threshold=2 * len(ENCODED))
    monkeypatch.setattr(pixels, "_fast_code", reader)
    by_cv2 = []
    slow = pixels._decode_by_cv2
    monkeypatch.setattr(pixels, "_decode_by_cv2", lambda encoded: by_cv2.append(1) or slow(encoded))
    assert np.array_equal(pixels.decode(ENCODED), IMAGE)
    assert reader._thread is None
    assert np.array_equal(pixels.decode(ENCODED), IMAGE)
    wait_until(lambda: reader.is_ready(0), seconds=60, what="the compiled reader")
    assert len(by_cv2) == 2
    assert np.array_equal(pixels.decode(ENCODED), IMAGE)
    assert len(by_cv2) == 2


def test_a_module_that_cannot_be_imported_is_logged_once(caplog):
    """For example compiled code that is damaged on disk; cv2 goes on decoding."""
    reader = LazyImport("worker.no_such_module", threshold=1)
    assert not reader.is_ready(1)
    reader._thread.join()
    assert not reader.is_ready(1)
    assert caplog.text.count("worker.no_such_module cannot be imported; images are decoded more slowly") == 1
