"""Images are found beside their CSV in every usual layout, and read completely."""

import hashlib

import pytest

from db.errors import PermanentError, UserError
from worker.storage.image_store import find_images, read_image


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "sample_labels.csv"
    path.write_text("")
    return path


def put(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def locations(csv, images):
    return {name: image.location for name, image in find_images(csv, images).images.items()}


@pytest.mark.parametrize("layout", [".", "images", "images_001/images", "sample/images"])
def test_images_are_found_beside_the_csv_in_each_layout(csv, layout):
    """The layouts of Kaggle and NIH, or the folder of the CSV."""
    folder = put(csv.parent / layout, "a.png", "b.JPG", "c.jpeg", "notes.txt")
    assert locations(csv, None) == {name: str(folder / name) for name in ("a.png", "b.JPG", "c.jpeg")}


def test_all_twelve_folders_of_the_full_set_are_one(csv):
    """images_001/images to images_012/images hold different scans."""
    for number in range(1, 13):
        put(csv.parent / f"images_{number:03d}" / "images", f"{number}.png")
    assert len(locations(csv, None)) == 12


def test_a_named_folder_is_the_only_one_looked_in(csv):
    """Images beside the CSV are then ignored."""
    put(csv.parent / "images", "beside.png")
    elsewhere = put(csv.parent / "elsewhere", "a.png")
    assert locations(csv, str(elsewhere)) == {"a.png": str(elsewhere / "a.png")}
    assert locations(None, str(elsewhere)) == {"a.png": str(elsewhere / "a.png")}


def test_locations_are_absolute(csv, monkeypatch):
    """A worker runs in another folder than the producer."""
    put(csv.parent / "images", "a.png")
    monkeypatch.chdir(csv.parent)
    expected = {"a.png": str(csv.parent / "images" / "a.png")}
    assert locations(csv.relative_to(csv.parent), None) == expected
    assert locations(None, "images") == expected


def test_one_image_may_be_named(csv, monkeypatch):
    """It is found as it is in its folder, under the same name and location; nothing else there is."""
    folder = put(csv.parent / "images", "a.png", "b.png")
    expected = {"a.png": str(folder / "a.png")}
    assert locations(None, str(folder / "a.png")) == expected
    assert find_images(None, str(folder / "a.png")).images["a.png"] == find_images(None, str(folder)).images["a.png"]
    assert locations(csv, str(folder / "a.png")) == expected
    monkeypatch.chdir(folder)
    assert locations(None, "a.png") == expected


def test_a_folder_that_cannot_be_listed_is_named(csv):
    """It is missing."""
    with pytest.raises(UserError, match=r"nowhere: cannot be listed \("):
        find_images(csv, str(csv.parent / "nowhere"))


def test_a_file_that_is_no_image_is_left_out_by_its_content(csv):
    """It was named instead of an image."""
    csv.write_text("Image Index,Finding Labels\n")
    listing = find_images(None, str(csv))
    assert (listing.images, listing.left_out) == ({}, {"text": 1})


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix"])
def test_an_address_without_a_bucket_is_refused(address):
    """It is refused before any request to a store."""
    with pytest.raises(UserError, match="s3://bucket/prefix"):
        find_images(None, address)


def test_an_image_is_its_bytes_and_their_hash(tmp_path):
    """The hash in SQL tells which bytes were scored."""
    put(tmp_path, "a.png")
    image = read_image(str(tmp_path / "a.png"))
    assert image.data == b"a.png"
    assert image.content == f"sha256:{hashlib.sha256(b'a.png').hexdigest()}"


def test_a_missing_image_is_rejected_as_missing(tmp_path):
    """The sentence does not say its name."""
    with pytest.raises(PermanentError) as caught:
        read_image(str(tmp_path / "00000013_005.png"))
    assert caught.value.reason == "missing"
    assert "00000013" not in str(caught.value)


def test_a_folder_in_place_of_an_image_is_rejected_as_unreadable(tmp_path):
    """So is a path through a file; neither sentence says the name."""
    put(tmp_path, "a.png")
    (tmp_path / "00000013_005.png").mkdir()
    for location in (tmp_path / "00000013_005.png", tmp_path / "a.png" / "00000013_005.png"):
        with pytest.raises(PermanentError) as caught:
            read_image(str(location))
        assert caught.value.reason == "unreadable"
        assert "00000013" not in str(caught.value)


@pytest.mark.parametrize("location", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://No Bucket/key"])
def test_a_location_that_no_object_can_have_is_rejected(location, monkeypatch):
    """In a worker a malformed address rejects the scan, and makes no request to a store."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(PermanentError) as caught:
        read_image(location)
    assert caught.value.reason in ("unreadable", "s3")
