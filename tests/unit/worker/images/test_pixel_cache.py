"""The pixel cache returns exactly the pixels that would be made, or none, and does not fill the disk."""

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pytest

from worker.images import pixel_cache
from worker.images.pixel_cache import PixelCache
from worker.images.pixels import PreparedImage
from worker.images.preprocessing import Preprocessing
from worker.storage.image_store import EncodedImage

RULE = Preprocessing(height=16, width=16)
ENTRY = 16 * 16 + 4
PLENTY = 2**30


def image(number):
    return EncodedImage(data=b"%d" % number, content=f"sha256:{number:064x}")


def prepared(number, *notes):
    return PreparedImage(pixels=np.random.default_rng(number).integers(0, 256, RULE.shape, np.uint8), notes=notes)


def same(found, made):
    return found is not None and np.array_equal(found.pixels, made.pixels) and found.notes == made.notes


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def cache(tmp_path):
    return PixelCache(tmp_path / "pixels", RULE, PLENTY)


def refuse(_):
    raise AssertionError("made again")


def test_pixels_are_made_once_and_then_found(cache):
    """The same bytes, also through another cache on the same folder; each hit is counted once."""
    made = [cache.get_or_make(image(number), lambda data: prepared(int(data))) for number in range(20)]
    assert cache.take_hits() == 0
    other = PixelCache(cache._folder, RULE, PLENTY)
    for number in range(20):
        found = other.get_or_make(image(number), refuse)
        assert same(found, made[number])
        assert (found.pixels.dtype, found.pixels.shape) == (np.uint8, RULE.shape)
    assert (other.take_hits(), other.take_hits()) == (20, 0)


@pytest.mark.parametrize("notes", [(), ("colour",), ("colour", "other")])
def test_the_notes_on_an_image_are_kept_with_its_pixels(cache, notes):
    """An image that is scored again is still known to have colour, without being decoded."""
    cache.get_or_make(image(1), lambda _: prepared(1, *notes))
    assert same(cache.get_or_make(image(1), refuse), prepared(1, *notes))


def test_other_content_preprocessing_or_code_is_another_key(cache, tmp_path, monkeypatch):
    """No entry is ever out of date."""
    keys = {cache.key(image(1)), cache.key(image(2))}
    for rule in (Preprocessing(height=16, width=17), Preprocessing(height=16, width=16, interpolation="linear")):
        keys.add(PixelCache(tmp_path, rule, PLENTY).key(image(1)))
    with monkeypatch.context() as patch:
        patch.setattr("worker.images.pixels.PIXELS_VERSION", 99)
        keys.add(PixelCache(tmp_path, RULE, PLENTY).key(image(1)))
    with monkeypatch.context() as patch:
        patch.setattr("cv2.__version__", "99")
        keys.add(PixelCache(tmp_path, RULE, PLENTY).key(image(1)))
    assert len(keys) == 6


def test_keys_of_rule_1_are_those_of_before_and_rule_2_names_its_decoders(cache, tmp_path, monkeypatch):
    """An upgrade discards no pixels that are still right; one of a decoder of DICOM discards those of rule 2."""
    before = f'2 cv2 {cv2.__version__} {{"height":16,"width":16,"color":"gray","interpolation":"area"}}'
    assert cache.key(image(1)) == hashlib.sha256(f"{before} {image(1).content}".encode()).hexdigest()
    rules = [
        Preprocessing(height=16, width=16, rule=2, **more) for more in ({}, {"bits": 12}, {"rendering": "equalized"})
    ]
    keys = {PixelCache(tmp_path, rule, PLENTY).key(image(1)) for rule in rules}
    monkeypatch.setattr("worker.images.pixels.version", lambda name: f"99 of {name}")
    keys.update(PixelCache(tmp_path, rule, PLENTY).key(image(1)) for rule in rules)
    assert len(keys) == 6
    assert PixelCache(tmp_path, RULE, PLENTY).key(image(1)) == cache.key(image(1))


@pytest.mark.parametrize("notes", [(), ("colour",)])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda _: b"",
        lambda content: content[:99] + bytes((content[99] ^ 1,)) + content[100:],
        lambda content: bytes(len(content)),
    ],
    ids=["cut", "longer", "empty", "a flipped bit", "zeros"],
)
def test_a_damaged_file_is_not_found_and_is_made_again(cache, damage, notes):
    """As after a power cut."""
    cache.get_or_make(image(1), lambda _: prepared(1, *notes))
    (path,) = files(cache._folder)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(cache.key(image(1))) is None
    assert same(cache.get_or_make(image(1), lambda _: prepared(1)), prepared(1))
    assert cache.take_hits() == 0
    assert same(cache.get_or_make(image(1), refuse), prepared(1))


def test_a_file_under_anothers_name_is_not_found(cache):
    """It is whole, but belongs to another scan, whose scores it would give."""
    one, other = cache.key(image(1)), cache.key(image(2))
    cache.put(one, prepared(1))
    cache._path(other).parent.mkdir(parents=True, exist_ok=True)
    cache._path(one).replace(cache._path(other))
    assert cache.get(other) is None


def test_it_stays_within_its_bound(tmp_path):
    """Ten times as many scans are put into it, and half of what fits is still found."""
    bound = 256 * 8 * ENTRY
    cache = PixelCache(tmp_path, RULE, bound)
    largest = 0
    for number in range(20_000):
        cache.put(cache.key(image(number)), prepared(0))
        if number % 1000 == 999:
            largest = max(largest, sum(path.stat().st_size for path in files(tmp_path)))
    slack = 256 * 2 * pixel_cache._CHECK_EVERY * ENTRY
    assert bound / 2 < largest < bound + slack
    assert sum(cache.get(cache.key(image(number))) is not None for number in range(20_000)) > 1000


def _put_and_get(folder):
    cache = PixelCache(folder, RULE, 256 * 2 * ENTRY)
    wrong = 0
    for turn in range(3):
        for number in range(1500):
            found = cache.get_or_make(image(number), lambda data: prepared(int(data)))
            wrong += not same(found, prepared(number))
        if turn == 0 and os.getpid() % 2:
            cache.take_hits()
    return wrong, cache.take_hits()


def test_processes_that_share_it_get_right_pixels_or_none(tmp_path):
    """Four of them write, read and evict the same files."""
    with ProcessPoolExecutor(4) as pool:
        outcomes = list(pool.map(_put_and_get, [tmp_path] * 4))
    assert [wrong for wrong, _ in outcomes] == [0] * 4
    assert sum(hits for _, hits in outcomes) > 0


def test_a_disk_that_cannot_be_written_costs_no_scan_and_is_logged_once(tmp_path, caplog):
    """The cache only saves time."""
    (tmp_path / "pixels").write_text("in the way")
    cache = PixelCache(tmp_path / "pixels", RULE, PLENTY)
    for number in range(3):
        assert same(cache.get_or_make(image(number), lambda data: prepared(int(data))), prepared(number))
    assert caplog.text.count("the pixel cache cannot be written") == 1


def test_an_image_that_cannot_be_decoded_is_not_kept(cache):
    """It is rejected with its reason each time."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get_or_make(image(1), lambda _: 1 / 0)
    assert files(cache._folder.parent) == []
