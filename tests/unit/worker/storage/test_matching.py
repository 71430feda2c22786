"""Which file is meant by a name in a CSV: by its path, by its own name, without suffix, or below another folder."""

import pytest

from db.errors import UserError
from db.ledger.scans import FoundImage
from worker.storage.matching import select_images


def by_name(candidates):
    """Look into no file."""
    return ((name, describe()) for name, describe in candidates)


def select(wanted, *files, same=False):
    """The file that is found for each wanted name."""
    candidates = ((name, lambda name=name: FoundImage(location=name)) for name in files)
    listing = select_images(candidates, set(wanted), lambda one, other: same, by_name)
    return {name: image.location for name, image in listing.images.items()}


@pytest.mark.parametrize("root", ["", "set/", "set/train/"])
def test_names_with_folders_are_found_from_the_sets_root_its_parent_and_below(root):
    """CheXpert's names begin with the set's own folder; people give that folder or the one above it."""
    wanted = {"set/train/p1/view1.jpg", "set/train/p2/view1.jpg"}
    found = select(wanted, *(name.removeprefix(root) for name in wanted), "view1.jpg", "p3/view1.jpg")
    assert found == {name: name.removeprefix(root) for name in wanted}


def test_folders_that_only_some_names_begin_with_are_not_left_off():
    """Without its folder, a name could be that of two scans."""
    assert select({"a/x.png", "b/x.png"}, "x.png") == {}
    assert select({"set/a/x.png", "set/b/x.png"}, "x.png", "a/x.png") == {"set/a/x.png": "a/x.png"}


def test_the_file_at_the_path_goes_before_one_below_another_root():
    """A folder may hold both; the second is another image, and was never read."""
    assert select({"a/x.png"}, "x.png", "a/x.png") == {"a/x.png": "a/x.png"}


@pytest.mark.parametrize("file", ["p1/50a4.dicom", "50a4.png", "50a4.JPG"])
def test_a_name_without_suffix_is_that_of_an_image_with_any(file):
    """VinDr, RSNA and MIMIC name images by an id alone."""
    assert select({"50a4"}, file, "50a4.txt", "50a4.csv") == {"50a4": file}


def test_a_file_of_just_that_name_goes_before_one_with_a_suffix():
    """Files without suffix were read before, whatever lay beside them."""
    assert select({"50a4"}, "50a4.png", "50a4") == {"50a4": "50a4"}


def test_two_images_of_one_name_without_suffix_are_refused_unless_they_are_the_same():
    """Which of them the label is of is not guessed."""
    with pytest.raises(UserError, match="two different images are named '50a4'"):
        select({"50a4"}, "50a4.png", "50a4.jpg")
    assert select({"50a4"}, "50a4.png", "b/50a4.png", same=True) == {"50a4": "50a4.png"}


def test_hidden_files_are_not_meant():
    """A Mac leaves `._x.png` beside each image, and thumbnails lie in hidden folders."""
    assert select({"50a4", "set/x.png"}, ".thumbs/50a4.png", ".x/x.png") == {}
