"""A version says of an image's bytes what its listing says, and what older programs noted of it."""

import pytest

from db.ledger.scans import FoundImage
from worker.storage.versions import Version

WHOLE = Version(etag="abc-1", size=10, modified=5_000_000_000)


@pytest.mark.parametrize("version", [WHOLE, Version(etag="abc"), Version(size=0, modified=-1), Version(etag="a:b-c")])
def test_a_version_is_read_as_it_was_written(version):
    """With whatever is known of it."""
    assert Version.parse(str(version)) == version


@pytest.mark.parametrize("other", [Version(), Version(etag="abc-1"), Version(size=10, modified=6_999_000_000)])
def test_what_one_of_two_versions_does_not_say_does_not_part_them(other):
    """Nor does a rounded time."""
    assert WHOLE.may_be(other)
    assert other.may_be(WHOLE)


@pytest.mark.parametrize(
    "other", [{"etag": "abc-2"}, {"size": 11}, {"modified": 8_000_000_000}, {"etag": None, "size": 11}]
)
def test_versions_with_another_etag_size_or_time_are_others(other):
    """Each of them counts."""
    known = {"etag": "abc-1", "size": 10, "modified": 5_000_000_000}
    assert not WHOLE.may_be(Version(**known | other))


@pytest.mark.parametrize("version", ["etag:abc stat:10-5", "stat:10-5", "etag:abc", None])
@pytest.mark.parametrize("location", ["s3://ward/a b/stat:1-2 c.png", "/scans/a b.png"])
def test_how_an_image_was_seen_tells_its_version_and_its_location(version, location):
    """The ledger keeps both in one string; an older program's has only the ETag of an object."""
    image = FoundImage(location=location, version=version)
    assert FoundImage.from_seen_as(image.seen_as or location) == image
