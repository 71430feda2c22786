"""Stores with odd listings, ETags or encodings are read rightly, or refused in one sentence; never in part."""

import contextlib
import gzip
from datetime import timedelta

import numpy as np
import pytest

from db.errors import PermanentError, TemporaryError, UserError
from tests.support.odd_s3 import OddStore
from trainer.phantoms.dicom_file import dicom_file
from worker.storage.image_store import find_images, read_image

FILM, OTHER = b"a film", b"b film"


@pytest.fixture
def serve(monkeypatch):
    """A function that serves a store with some oddities, with films under `n/`, to this process."""
    import worker.storage.s3

    with contextlib.ExitStack() as stack:

        def serve(*oddities, films=5):
            store = OddStore(*oddities)
            for number in range(films):
                store.put(f"n/{number}.png", FILM)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", stack.enter_context(store.serving()))
            worker.storage.s3._s3_client.cache_clear()
            return store

        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.setenv(name, "us-east-1")
        yield serve
        worker.storage.s3._s3_client.cache_clear()


@pytest.mark.parametrize("oddity", ["v1", "no etag"])
def test_a_store_with_older_or_fewer_answers_is_listed_whole(serve, oddity):
    """One that knows only the first version of the listing takes the last key as a marker."""
    serve(oddity)
    assert set(find_images(None, "s3://ward/n").images) == {f"{number}.png" for number in range(5)}


@pytest.mark.parametrize("oddity", ["no token", "same token", "same page", "empty pages"])
def test_a_listing_that_is_cut_short_or_never_ends_is_refused(serve, oddity, monkeypatch):
    """A night must not score the first thousand films of many, nor list for ever."""
    monkeypatch.setattr("worker.storage.s3_pages._MAX_EMPTY_PAGES", 5)
    serve(oddity)
    with pytest.raises(UserError, match=r"^s3://ward/n: cannot be listed completely: .*; list prefixes") as caught:
        find_images(None, "s3://ward/n")
    assert "\n" not in str(caught.value)


def test_two_films_of_one_name_are_told_apart_though_all_etags_are_alike(serve):
    """Their bytes count; a copy of one film is no other film."""
    store = serve("one etag", films=0)
    store.put("x/f.png", FILM)
    store.put("y/f.png", FILM)
    assert set(find_images(None, "s3://ward", {"f.png"}).images) == {"f.png"}
    store.put("y/f.png", OTHER)
    with pytest.raises(UserError, match="two different images are named"):
        find_images(None, "s3://ward", {"f.png"})


#: Every way in which a store may not tell the ETags of its objects.
NO_ETAGS = ["no etag", "no etag listed", "empty etag listed", "no etag sent"]


@pytest.mark.parametrize("oddity", ["one etag", *NO_ETAGS])
@pytest.mark.parametrize("data", [OTHER, FILM + b"!"], ids=["later", "larger"])
def test_size_and_time_tell_versions_apart_where_etags_do_not(serve, oddity, data):
    """A film that was replaced since it was listed is not scored; the listed one is."""
    store = serve(oddity)
    image = find_images(None, "s3://ward/n").images["0.png"]
    assert read_image(image.location, image.version).data == FILM
    listed_at = store.objects["n/0.png"][1]
    store.put("n/0.png", data, listed_at if len(data) > len(FILM) else None)
    with pytest.raises(PermanentError, match="replaced after it was listed") as caught:
        read_image(image.location, image.version)
    assert caught.value.reason == "changed"


def test_an_etag_that_is_the_hash_of_the_bytes_needs_no_other_proof(serve):
    """A store may give another time with an object than in the listing."""
    store = serve()
    image = find_images(None, "s3://ward/n").images["0.png"]
    store.put("n/0.png", FILM, store.objects["n/0.png"][1] + timedelta(hours=1))
    assert read_image(image.location, image.version).data == FILM


@pytest.mark.parametrize("oddities", [("portal", "no etag"), ("portal", "no etag sent")])
def test_a_page_in_place_of_an_object_is_waited_for(serve, oddities):
    """It has a time and no ETag, like the objects of some stores, but it says that it is HTML."""
    serve(*oddities)
    with pytest.raises(TemporaryError, match="something other than an S3 store answered"):
        read_image("s3://ward/n/0.png")


@pytest.mark.parametrize("oddities", [("gzip",), ("gzip", "one etag"), ("gzip", "no etag")])
def test_an_object_that_is_sent_compressed_is_unpacked(serve, oddities):
    """Its version is that of the listing, whether the listing means the bytes before or after."""
    serve(*oddities)
    image = find_images(None, "s3://ward/n").images["0.png"]
    assert read_image(image.location, image.version).data == FILM


def test_a_small_object_that_unpacks_to_a_huge_one_is_rejected(serve, monkeypatch):
    """It is not unpacked further than the largest image is long."""
    monkeypatch.setattr("worker.storage.image_store.MAX_FILE_BYTES", 1000)
    serve("gzip").put("n/0.png", bytes(10_000_000))
    with pytest.raises(PermanentError) as caught:
        read_image("s3://ward/n/0.png")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("data", [FILM, gzip.compress(FILM)[:-1]], ids=["unpacked", "truncated"])
def test_an_object_that_is_only_called_compressed_is_read_as_it_is(serve, data, monkeypatch):
    """A store may have unpacked it already; what cannot be unpacked is rejected like any gzip file."""
    monkeypatch.setattr("tests.support.odd_s3.gzip.compress", lambda body: body)
    serve("gzip").put("n/0.png", data)
    assert read_image("s3://ward/n/0.png").data == data


@pytest.mark.parametrize("oddities", [(), ("gzip",)])
def test_the_header_of_a_film_is_read_from_a_store_that_knows_no_ranges(serve, oddities):
    """It sends the whole object, compressed or not."""
    store = serve(*oddities)
    store.put("n/IM1", dicom_file(np.zeros((300, 300), np.uint16), SOPInstanceUID="1.2.3.4", PatientID="7"))
    assert find_images(None, "s3://ward/n").images["1.2.3.4"].header.patient_id == "7"


def test_a_film_behind_a_guest_networks_page_is_left_out_and_counted(serve):
    """What it is called is not known yet; files named like a PNG are found."""
    serve("portal", "no etag sent").put("n/IM1", FILM)
    listing = find_images(None, "s3://ward/n")
    assert (len(listing.images), listing.left_out) == (5, {"unreadable": 1})
