"""What `producer browse` shows of an image is what the worker decodes and feeds to the model."""

import hashlib
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from db.errors import PermanentError
from db.ledger.scan_images import ScanImage
from producer.browse.rendering.films import THUMBNAIL_SIDE, Films
from tests.support.encoded_images import encode, png_of, tiff_of
from tests.support.world import radiograph
from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.film import decode_film
from worker.images import pixels
from worker.images.fast.lazy_import import LazyImport
from worker.images.pixels import decode
from worker.images.preprocessing import Preprocessing
from worker.scoring.decoder import Decoder
from worker.settings import WorkerSettings
from worker.storage.image_store import read_image
from worker.telemetry.counters import Stopwatch

#: As NIH's, it begins with the patient's id.
NAME = "00000013_005.png"
GRAY = radiograph(1, side=200)[:150]
DEEP = GRAY.astype(np.uint16) * 16
COLOUR = np.dstack([GRAY, GRAY // 2, 255 - GRAY])
RULE = Preprocessing(rule=2, height=64, width=64, crop="center")
ENCODED = {
    "png": encode(GRAY),
    "png of 16 bits": encode(DEEP),
    "rgba": png_of(np.dstack([GRAY, GRAY, GRAY, GRAY]), color=6),
    "colour": encode(COLOUR),
    "jpeg": encode(GRAY, ".jpg"),
    "tiff whose 0 is white": tiff_of(GRAY, photometric=0),
    "dicom whose 0 is white": dicom_file(DEEP, BitsStored=12, PhotometricInterpretation="MONOCHROME1"),
}


@pytest.fixture(autouse=True)
def compiled_code(monkeypatch):
    """In place of the faster code: it would be loaded at the first PNG."""
    code = LazyImport("worker.no_such_module", threshold=1)
    monkeypatch.setattr(pixels, "_fast_code", code)
    return code


@pytest.fixture
def scored(tmp_path):
    """Writes an image and returns it as an outcome has it."""

    def write(encoded, rule=RULE, **others):
        path = tmp_path / NAME
        path.write_bytes(encoded)
        values = {"state": "scored", "is_suspect": False, "reason": None, "detail": None, "notes": (), "version": None}
        content = f"sha256:{hashlib.sha256(encoded).hexdigest()}"
        values |= {"location": str(path), "content": content, "preprocessing": rule.model_dump(mode="json")}
        return ScanImage(scan_id=1, **{**values, **others})

    return write


def as_worker(image, rule=RULE, views=()):
    """The pixels that a worker feeds to the model."""
    return Decoder(rule, WorkerSettings(), Stopwatch(), views)(read_image(image.location)).pixels


def seen(encoded):
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)


def refusal(render, image):
    with pytest.raises(PermanentError) as caught:
        render(image)
    return caught.value


@pytest.mark.parametrize("rule", [RULE, RULE.model_copy(update={"color": "bgr"})], ids=lambda rule: rule.color)
@pytest.mark.parametrize("kind", ENCODED)
def test_the_input_is_the_pixels_that_the_worker_feeds_to_the_model(scored, kind, rule):
    image = scored(ENCODED[kind], rule)
    fed, films = as_worker(image, rule), Films()

    assert np.array_equal(films.pixels(image), fed)
    assert np.array_equal(seen(films.model_input(image)).reshape(fed.shape), fed)


@pytest.mark.parametrize("kind", ENCODED)
def test_the_film_is_what_the_worker_decodes_before_it_crops_and_resizes(scored, kind):
    """Gray is shown as gray, however it is stored."""
    encoded = ENCODED[kind]
    film = seen(Films().film(scored(encoded)))

    if "dicom" in kind:
        decoded = decode_film(encoded, rendering="display", max_pixels=2**20, refused=frozenset()).image
    else:
        decoded = decode(encoded, rule=RULE)
    assert film.shape == (GRAY.shape if kind != "colour" else COLOUR.shape)
    assert np.array_equal(film, decoded[..., 0] if kind == "rgba" else decoded)


def test_a_thumbnail_is_the_film_scaled_down_in_a_few_kilobytes(scored):
    encoded = Films().thumbnail(scored(encode(GRAY)))

    assert encoded.startswith(b"\xff\xd8")
    assert len(encoded) < 8_000
    assert seen(encoded).shape == (120, THUMBNAIL_SIDE)
    assert np.abs(seen(encoded).mean() - GRAY.mean()) < 2


def test_bytes_that_changed_are_not_shown_as_what_was_scored(scored):
    """Neither are those of an image that the run has only listed, once they are of another version."""
    old = scored(encode(GRAY))
    listed = replace(old, content=None, version=f"stat:{os.path.getsize(old.location)}-1", state="pending")  # noqa: PTH202
    scored(encode(GRAY // 2))
    films = Films()

    for render in (films.film, films.thumbnail, films.model_input, films.pixels):
        assert refusal(render, old).reason == "changed"
        assert str(refusal(render, old)) == "the image at this place has changed since the run read it"
        assert refusal(render, listed).reason == "changed"


def test_what_was_shown_once_is_neither_read_nor_decoded_again(scored):
    """The film, the model's input and the thumbnail of known bytes; of others, the next look may find other ones."""
    films, image = Films(), scored(encode(GRAY))
    thumbnail, film = films.thumbnail(image), films.film(image)
    unknown = replace(image, content=None)
    films.film(unknown)
    os.remove(image.location)  # noqa: PTH107

    assert films.thumbnail(image) == thumbnail
    assert films.film(image) == film
    assert films.pixels(image).shape == RULE.shape
    assert refusal(films.film, unknown).reason == "missing"
    # Of another rule they are other pixels.
    other = {**image.preprocessing, "rendering": "full_range"}
    assert refusal(films.thumbnail, replace(image, preprocessing=other)).reason == "missing"


@pytest.mark.parametrize("header", [{"ViewPosition": "LL"}, {"BodyPartExamined": "HIP"}], ids=str)
def test_a_film_that_was_rejected_for_what_its_header_says_is_shown(scored, header):
    image = scored(dicom_file(GRAY, **header), state="rejected", reason="view")
    refusal(lambda image: as_worker(image, views=("PA",)), image)

    assert np.array_equal(seen(Films().film(image)), GRAY)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "empty"),
        (b"<html>", "not_image"),
        (encode(GRAY)[:-40], "truncated"),
        (dicom_file(GRAY)[:-40], "truncated"),
        (encode(radiograph(1, side=300)), "too_large"),
        (np.full((9, 9), 7, np.uint8), "constant"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_worker_does_not_decode_is_refused_in_its_words(scored, encoded, reason):
    encoded = encoded if isinstance(encoded, bytes) else encode(encoded)
    error = refusal(Films(max_pixels=40_000).film, scored(encoded))

    assert error.reason == reason
    assert NAME not in str(error)


def test_under_the_rule_of_old_models_dicom_is_refused(scored):
    """A manifest that does not name the preprocessing is of such a model."""
    image = replace(scored(dicom_file(GRAY)), preprocessing={})

    assert refusal(Films().film, image).reason == "dicom"


def test_an_image_that_a_run_has_not_is_refused_in_the_words_of_the_outcome(scored):
    """So is one that ended its workers: it might end this process too."""
    sentence = "no image of this name was found when the run was opened"
    without = scored(encode(GRAY), location=None, state="rejected", reason="missing", detail=sentence)
    error = refusal(Films().film, without)

    assert (error.reason, str(error)) == ("missing", sentence)
    assert refusal(Films().thumbnail, scored(encode(GRAY), is_suspect=True)).reason == "killed_worker"


def test_no_number_of_images_loads_the_compiled_code(scored, compiled_code):
    """It takes half a second and much memory, which a process that shows few images does not get back."""
    Films().film(scored(encode(GRAY)))

    assert compiled_code._thread is None
