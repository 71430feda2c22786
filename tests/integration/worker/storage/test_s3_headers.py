"""Of DICOM in a bucket only the headers are read, by ranged requests."""

import numpy as np
import pytest

import worker.storage.s3
from db.errors import UserError
from tests.support.s3_server import client_of
from trainer.phantoms.dicom_file import dicom_file
from worker.storage.image_store import find_images

FILM = np.zeros((1024, 1024), np.uint16)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def uid(number):
    return f"1.2.826.0.2.{number}"


def film(number, **header):
    return dicom_file(FILM, SOPInstanceUID=uid(number), PatientID=str(number), **header)


@pytest.fixture(scope="session")
def films(s3):
    """Films without suffix, one behind megabytes of a vendor's own elements, and other files."""
    client = client_of(s3)
    client.create_bucket(Bucket="films")
    objects = {
        **{f"day/s{number}/IM1": film(number) for number in range(3)},
        "day/large.dcm": film(3, PixelDataProviderURL="http://" + "x" * 5_000_000, PatientAge="060Y"),
        "day/a.png": PNG,
        "day/b.png": b"<html>",
        "day/scan": PNG,
        "day/report": b"%PDF-1.4",
        "day/none": b"",
    }
    for key, body in objects.items():
        client.put_object(Bucket="films", Key=key, Body=body)
    return client


def gets_of(action):
    """The sizes of all answers to GetObject that an action requests."""
    sizes = []
    events = worker.storage.s3._s3().meta.events
    events.register("after-call.s3.GetObject", lambda parsed, **_: sizes.append(parsed["ContentLength"]))
    action()
    return sizes


def test_a_bucket_of_films_is_found_by_content_without_reading_its_pixels(boto, films):
    """One request of 64 KiB a film; none for a file that is named like a PNG, or is empty."""
    listings = []
    sizes = gets_of(lambda: listings.append(find_images(None, "s3://films/day")))
    (listing,) = listings
    assert set(listing.images) == {*map(uid, range(4)), "a.png", "b.png", "scan"}
    assert listing.left_out == {"pdf": 1, "empty": 1}
    assert listing.images[uid(1)].location == "s3://films/day/s1/IM1"
    assert listing.images[uid(1)].header.patient_id == "1"
    assert len(sizes) <= 7
    assert max(sizes) == 2**16


def test_the_objects_of_a_csv_are_only_read_if_they_may_be_dicom(boto, films):
    """The rows get the UIDs as names."""
    listings = []
    sizes = gets_of(lambda: listings.append(find_images(None, "s3://films/day", {"a.png", "s1/IM1", uid(3)})))
    (listing,) = listings
    assert set(listing.images) == {"a.png", uid(1), uid(3)}
    assert listing.image_names == {"s1/IM1": uid(1)}
    assert max(sizes) == 2**16


def test_known_objects_are_not_requested(boto, films):
    """Listing them tells that they have not changed."""
    found = find_images(None, "s3://films/day/s1").images
    known = {image.seen_as: name for name, image in found.items()}
    assert gets_of(lambda: find_images(None, "s3://films/day/s1", known=known)) == []


def test_the_header_of_an_object_that_was_replaced_after_it_was_listed_is_not_taken(boto, films):
    """Nor are its parts mixed with those of the object before."""
    films.put_object(Bucket="films", Key="night/a.dcm", Body=film(1))
    replaced = []

    def replace(**_):
        if not replaced:
            replaced.append(films.put_object(Bucket="films", Key="night/a.dcm", Body=film(2)))

    worker.storage.s3._s3().meta.events.register("before-call.s3.GetObject", replace)
    listing = find_images(None, "s3://films/night")
    assert (listing.images, listing.left_out, len(replaced)) == ({}, {"unreadable": 1}, 1)
    assert set(find_images(None, "s3://films/night").images) == {uid(2)}


def test_a_store_whose_keys_expire_in_the_listing_is_one_sentence(boto, films):
    """Nothing is left out in silence."""
    events = worker.storage.s3._s3().meta.events
    events.register("before-parameter-build.s3.GetObject", lambda **_: boto(AWS_SECRET_ACCESS_KEY="wrong"))
    with pytest.raises(UserError, match="s3://films/: cannot be read"):
        find_images(None, "s3://films/day")
