"""A bucket is listed once and read by one client; an error says whether it concerns an object or the store."""

import hashlib
import http.server
import threading

import pytest

import worker.storage.s3
import worker.storage.s3_errors
from db.errors import PermanentError, TemporaryError, UserError
from tests.support.s3_server import VISITOR, client_of
from worker.storage.image_store import find_images, read_image
from worker.storage.s3 import has_etag_mismatch, list_s3
from worker.storage.s3_errors import StoreRefused

ODD_KEYS = [
    *("a b.png", "ünï 日本.png", "a+b.png", "a%20b.png", "50%.png", "q?versionId=1.png", "h#1.png", "it's.png"),
    *('"q".png', "new\nline.png", "a&b=c.png", "<x>.png", "~.png", "a;b,c.png", "a:b@c$d!e*(f).png"),
]


@pytest.fixture(scope="session")
def ward(s3):
    """The bucket `ward`: the visitor may read `open/` but not `closed/`; `folders/` has the content of folders."""
    client = client_of(s3)
    client.create_bucket(Bucket="ward")
    client.create_bucket(Bucket="foreign")
    for key in ("open/a.png", "closed/a.png", "folders/p1/v.png", "folders/p2/v.png", "folders/n.txt", "folders/h.PNG"):
        client.put_object(Bucket="ward", Key=key, Body=key.encode())
    client.put_object(Bucket="ward", Key="folders/p3/", Body=b"")
    client.put_object(Bucket="foreign", Key="a.png", Body=b"x")
    for key in ODD_KEYS:
        client.put_object(Bucket="ward", Key=f"odd 1+/{key}", Body=key.encode())
    return client


def calls_of(action):
    """The S3 operations that an action requests."""
    operations = []
    worker.storage.s3._s3().meta.events.register("before-call.s3.*", lambda model, **_: operations.append(model.name))
    action()
    return operations


def refused(read, *arguments):
    with pytest.raises(PermanentError) as caught:
        read(*arguments)
    return caught.value


def test_keys_of_any_letters_are_found_and_read(boto, ward):
    """Spaces, Unicode, plus, percent, question mark, hash, quotes and newline are ordinary in a key."""
    listing = find_images(None, "s3://ward/odd 1+", set(ODD_KEYS))
    assert set(listing.images) == set(find_images(None, "s3://ward/odd 1+/").images) == set(ODD_KEYS)
    for name, image in listing.images.items():
        assert image.location == f"s3://ward/odd 1+/{name}"
        assert read_image(image.location, image.version).data == name.encode()


def test_keys_are_named_relative_to_the_prefix(boto, ward):
    """As in a folder: by path or by wanted base name. The marker object of a folder is not an image."""
    listing = find_images(None, "s3://ward/folders")
    assert set(listing.images) == {"p1/v.png", "p2/v.png", "h.PNG"}
    assert find_images(None, "s3://ward/folders", {"p2/v.png", "n.txt"}).images.keys() == {"p2/v.png", "n.txt"}
    with pytest.raises(UserError, match=r"two different images are named 'v\.png'.*s3://ward/folders/p1/v\.png"):
        find_images(None, "s3://ward/folders", {"v.png"})
    assert find_images(None, "s3://ward", {"folders/p1/v.png"}).images.keys() == {"folders/p1/v.png"}


def test_one_object_may_be_named(boto, ward):
    """It is found as it is under its prefix; the beginning of a key, or a slash after it, means no object."""
    listing = find_images(None, "s3://ward/folders/p1/v.png")
    assert listing.images == find_images(None, "s3://ward/folders/p1").images
    assert find_images(None, "s3://foreign/a.png").images.keys() == {"a.png"}
    for nothing in ("s3://ward/folders/p1/v.png/", "s3://ward/folders/p1/v.pn", "s3://ward/fold"):
        assert find_images(None, nothing).images == {}


def test_a_prefix_is_listed_once_and_nothing_else_is_asked(boto, ward):
    """One request per thousand keys and none per row; a page is requested only once the page before is used up."""
    for number in range(1001):
        ward.put_object(Bucket="ward", Key=f"many/{number:04d}.png", Body=b"x")
    wanted = {f"{number:04d}.png" for number in range(1001)}
    assert calls_of(lambda: find_images(None, "s3://ward/many", wanted)) == ["ListObjectsV2"] * 2
    assert calls_of(lambda: next(list_s3("s3://ward/many"))) == ["ListObjectsV2"]


WRONG_SETUPS = [
    ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the access key"),
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "secret key does not match"),
    ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no credentials"),
    ({"AWS_SECRET_ACCESS_KEY": None}, "no credentials"),
    ({"AWS_ENDPOINT_URL_S3": "nonsense"}, "cannot be set up"),
    ({"AWS_PROFILE": "absent"}, "cannot be set up"),
]


@pytest.mark.parametrize(("change", "words"), WRONG_SETUPS)
def test_a_wrong_setup_is_one_sentence_and_refuses_the_whole_store(boto, ward, change, words):
    """The listing tells a person the cause, and a worker does not try any other object of the store."""
    boto(**change)
    with pytest.raises(UserError, match=rf"s3://ward/open: cannot be listed: .*{words}") as caught:
        find_images(None, "s3://ward/open")
    assert "\n" not in str(caught.value)
    refusal = refused(read_image, "s3://ward/open/a.png")
    assert (type(refusal), refusal.reason, refusal.store) == (StoreRefused, "s3", "s3://ward/")
    assert words in str(refusal)


def test_a_bucket_that_does_not_exist_or_is_denied_refuses_the_whole_store(boto, ward):
    """Also if a store denies that the bucket exists."""
    with pytest.raises(UserError, match="s3://absent/x: cannot be listed: the bucket does not exist"):
        find_images(None, "s3://absent/x")
    assert refused(read_image, "s3://absent/x/a.png").store == "s3://absent/"
    boto(**VISITOR)
    with pytest.raises(UserError, match="s3://foreign/: cannot be listed: these credentials are denied access"):
        find_images(None, "s3://foreign/")
    assert refused(read_image, "s3://foreign/a.png").store == "s3://foreign/"


def test_one_denied_object_does_not_refuse_the_whole_store(boto, ward):
    """Whether or not the bucket has answered before."""
    boto(**VISITOR)
    for _ in range(2):
        refusal = refused(read_image, "s3://ward/closed/a.png")
        assert (type(refusal), refusal.reason) == (PermanentError, "s3")
        assert read_image("s3://ward/open/a.png").data == b"open/a.png"
    assert calls_of(lambda: refused(read_image, "s3://ward/closed/a.png")) == ["GetObject"]


def test_an_object_that_is_gone_is_missing(boto, ward):
    """The store itself is not refused."""
    assert refused(read_image, "s3://ward/open/gone.png").reason == "missing"


class _Busy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b"<Error><Code>SlowDown</Code></Error>")

    def log_message(self, *_):
        pass


def test_a_store_that_is_busy_or_away_is_asked_again_and_then_waited_for(boto, ward):
    """After two attempts the scan is handed back; nothing is rejected."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Busy)
    server.asked = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    boto(AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(TemporaryError, match="SlowDown"):
        read_image("s3://ward/open/a.png")
    assert server.asked == 2
    server.shutdown()
    server.server_close()
    with pytest.raises(TemporaryError, match="endpoint does not answer"):
        read_image("s3://ward/open/a.png")
    with pytest.raises(UserError, match="cannot be listed: the endpoint does not answer"):
        find_images(None, "s3://ward/open")


class _DeniesAndIsBusy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        listing = "list-type" in self.path
        self.send_response(503 if listing else 403)
        self.end_headers()
        self.wfile.write(f"<Error><Code>{'SlowDown' if listing else 'AccessDenied'}</Code></Error>".encode())

    def log_message(self, *_):
        pass


def test_a_store_that_is_too_busy_to_say_whether_it_is_refused_is_not(boto, ward):
    """One object is denied, and the store has not answered before; a wrong guess would reject every scan."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _DeniesAndIsBusy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    boto(AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(TemporaryError, match="SlowDown"):
        read_image("s3://ward/open/a.png")
    server.shutdown()
    server.server_close()


def test_a_store_whose_etags_are_not_hashes_is_believed_if_the_bytes_come_twice(boto, ward, monkeypatch):
    """The bytes are the same both times, so they were not damaged on the way."""
    monkeypatch.setattr("worker.storage.s3.has_etag_mismatch", lambda data, answer: True)
    assert calls_of(lambda: read_image("s3://ward/open/a.png")) == ["GetObject", "GetObject"]


@pytest.mark.parametrize(
    ("about", "seems"),
    [
        ({}, True),
        ({"ServerSideEncryption": "AES256"}, True),
        ({"ServerSideEncryption": "aws:kms"}, False),
        ({"SSECustomerAlgorithm": "AES256"}, False),
        ({"ETag": f'"{"0" * 32}-7"'}, False),
        ({"ETag": f'"{hashlib.md5(b"bytes", usedforsecurity=False).hexdigest()}"'}, False),
    ],
)
def test_an_etag_is_compared_with_the_bytes_only_if_it_is_their_hash(about, seems):
    """It is not the hash of uploads in parts and of objects encrypted with a key of the customer."""
    assert has_etag_mismatch(b"bytes", {"ETag": f'"{"0" * 32}"', **about}) is seems


def test_an_object_larger_than_any_image_is_rejected_and_the_next_is_read(boto, ward, monkeypatch):
    """Its bytes do not remain in the connection of the next read."""
    monkeypatch.setattr("worker.storage.image_store.MAX_FILE_BYTES", 10)
    ward.put_object(Bucket="ward", Key="open/large.png", Body=bytes(5_000_000))
    ward.put_object(Bucket="ward", Key="open/small.png", Body=bytes(10))
    error = refused(read_image, "s3://ward/open/large.png")
    assert (error.reason, "5,000,000 bytes" in str(error)) == ("too_large", True)
    assert read_image("s3://ward/open/small.png").data == bytes(10)


def test_an_object_that_may_not_be_read_is_left_out_unless_its_name_is_that_of_a_png(boto, ward):
    """A producer that may only list does not know which films these are; a worker would score them by their keys."""
    for key in ("closed/b.dcm", "closed/IM1"):
        ward.put_object(Bucket="ward", Key=key, Body=b"x")
    boto(**VISITOR)
    listing = find_images(None, "s3://ward/closed")
    assert (set(listing.images), listing.left_out) == ({"a.png"}, {"unreadable": 2})
