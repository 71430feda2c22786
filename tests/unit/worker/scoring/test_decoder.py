"""The decoder decodes a limited number of images at once, and none that are in the pixel cache."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from db.errors import PermanentError
from tests.support.screenshot import screenshot
from tests.support.world import radiograph, wait_until
from trainer.phantoms.dicom_file import dicom_file
from worker.images.pixels import prepare, to_pixels
from worker.images.preprocessing import Preprocessing
from worker.scoring import decoder
from worker.scoring.decoder import Decoder
from worker.settings import WorkerSettings
from worker.storage.image_store import EncodedImage
from worker.telemetry.counters import Stopwatch

RULE = Preprocessing(height=16, width=16)
#: The preprocessing of manifests of format 2, which score DICOM.
DICOM_RULE = Preprocessing(height=16, width=16, rule=2)
THREADS = 8


def png(number):
    return cv2.imencode(".png", radiograph(number))[1].tobytes()


def image(number):
    return EncodedImage(data=png(number), content=f"sha256:{number:064x}")


def film_of(**header):
    return EncodedImage(data=dicom_file(radiograph(0), **header), content=f"sha256:{header}")


@pytest.fixture
def settings(tmp_path):
    return WorkerSettings(home=tmp_path, decode_threads=2, pixel_cache_gb=1)


@pytest.fixture
def slow(monkeypatch):
    """Slows decoding to 20 ms, and returns a list with the largest number of decodings at once."""
    at_it, most = [], [0]

    def decode(*args):
        at_it.append(args)
        most[0] = max(most[0], len(at_it))
        time.sleep(0.02)
        at_it.remove(args)
        return prepare(*args)

    monkeypatch.setattr(decoder, "prepare", decode)
    return most


def test_no_more_images_are_decoded_at_once_than_threads_are_set_and_waiting_is_not_timed(settings, slow):
    """Two of eight threads decode sixteen images: 0.3 s of decoding are timed, but not the 1.3 s of waiting."""
    watch = Stopwatch()
    decode = Decoder(RULE, settings, watch)
    with ThreadPoolExecutor(THREADS) as pool:
        began = time.monotonic()
        found = list(pool.map(decode, map(image, range(2 * THREADS))))
        seconds = time.monotonic() - began
    assert [one.pixels.tolist() for one in found] == [to_pixels(png(n), RULE).tolist() for n in range(2 * THREADS)]
    assert slow == [2]
    assert 2 * THREADS * 0.02 <= watch.seconds["decode"] <= 2 * seconds


def test_cached_pixels_wait_for_no_core(settings, monkeypatch):
    """Cached images do not wait behind images that must be decoded."""
    decode = Decoder(RULE, settings, Stopwatch())
    decode(image(0))
    over = threading.Event()
    with ThreadPoolExecutor(THREADS) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(decoder, "prepare", lambda *_: over.wait(60))
            hanging = [pool.submit(decode._decode, b"") for _ in range(2)]
            try:
                assert pool.submit(decode, image(0)).result(timeout=30).pixels.shape == RULE.shape
            finally:
                over.set()
        assert all(one.result() for one in hanging)
    assert (decode.take_hits(), decode.take_hits()) == (1, 0)


def test_without_a_cache_each_image_is_decoded(tmp_path, slow):
    """The size of the pixel cache is 0 by default."""
    decode = Decoder(RULE, WorkerSettings(home=tmp_path), Stopwatch())
    assert decode(image(0)).pixels.tolist() == decode(image(0)).pixels.tolist()
    assert (slow, decode.take_hits()) == ([1], 0)
    assert not list(tmp_path.iterdir())


def test_an_image_of_too_many_pixels_is_rejected(settings):
    """The worker's setting applies to every read of the image."""
    decode = Decoder(RULE, settings.model_copy(update={"max_pixels": 399}), Stopwatch())
    for _ in range(2):
        with pytest.raises(PermanentError) as caught:
            decode(image(0))
        assert caught.value.reason == "too_large"


@pytest.mark.parametrize("cache", [0, 1])
def test_an_image_with_colour_is_rejected_only_where_the_worker_is_told_so(settings, cache):
    """The pixel cache changes nothing, also if the image was decoded before the worker was told so."""
    settings = settings.model_copy(update={"pixel_cache_gb": cache})
    strict = settings.model_copy(update={"reject_colour": True})
    page = EncodedImage(data=cv2.imencode(".png", screenshot())[1].tobytes(), content="sha256:s")
    assert [Decoder(RULE, settings, Stopwatch())(page).notes for _ in range(2)] == [("colour",)] * 2
    decode = Decoder(RULE, strict, Stopwatch())
    for _ in range(2):
        with pytest.raises(PermanentError, match="has colour in it") as caught:
            decode(page)
        assert caught.value.reason == "colour"
    assert decode(image(0)).notes == ()


@pytest.mark.parametrize("cache", [0, 1])
def test_a_film_that_one_worker_admits_is_refused_by_another(settings, cache):
    """The pixel cache changes nothing, also if the film was decoded by a worker that admits it."""
    settings = settings.model_copy(update={"pixel_cache_gb": cache})
    lenient = Decoder(DICOM_RULE, settings.model_copy(update={"admit": "secondary_capture"}), Stopwatch())
    strict = Decoder(DICOM_RULE, settings, Stopwatch())
    film = film_of(SOPClassUID=SecondaryCaptureImageStorage)
    for _ in range(2):
        with pytest.raises(PermanentError, match="--admit secondary_capture") as caught:
            strict(film)
        assert caught.value.reason == "secondary_capture"
        assert lenient(film).notes == ("secondary_capture",)


@pytest.mark.parametrize("cache", [0, 1])
def test_a_lateral_film_is_refused_for_a_frontal_model_alone(settings, cache):
    """Models with one preprocessing share the pixel cache, but not the views that they were fitted on."""
    settings = settings.model_copy(update={"pixel_cache_gb": cache})
    frontal, both, unknown = (
        Decoder(DICOM_RULE, settings, Stopwatch(), views) for views in (("PA", "AP"), ("PA", "LATERAL"), ())
    )
    film = film_of(ViewPosition="LL")
    for _ in range(2):
        assert both(film).pixels.tolist() == unknown(film).pixels.tolist()
        with pytest.raises(PermanentError) as caught:
            frontal(film)
        assert caught.value.reason == "view"


def test_a_decoding_that_takes_long_is_told_while_it_takes_long(settings, monkeypatch):
    """One that waits for a core does not count."""
    decode = Decoder(RULE, settings, Stopwatch())
    over = threading.Event()
    monkeypatch.setattr(decoder, "prepare", lambda *_: over.wait(60))
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            decodings = [pool.submit(decode._decode, b"") for _ in range(2)]
            wait_until(lambda: decode.is_stuck(0.05), 10)
            assert not decode.is_stuck(60)
        finally:
            over.set()
        assert all(one.result() for one in decodings)
    assert not decode.is_stuck(0)
