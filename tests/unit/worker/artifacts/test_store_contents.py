"""A folder of a model store that cannot be used is named with its reason, and hides no other one."""

import shutil

import pytest

from db.errors import UserError
from tests.support.broken_artifacts import LISTED, half_copied, newer_format
from tests.support.world import hash_artifact
from worker.artifacts.model_store import FolderModelStore, find_by_name
from worker.artifacts.store_contents import check_usable


@pytest.fixture
def good(tmp_path):
    return hash_artifact(tmp_path / "models", name="good")


@pytest.fixture
def models(good):
    return FolderModelStore(good.folder.parent)


@pytest.mark.parametrize("break_one", LISTED, ids=lambda broken: broken.__name__)
def test_a_broken_folder_is_named_with_its_reason(models, good, break_one):
    """One printable sentence with the place, the cause and the remedy; the whole artifact is still there."""
    broken = break_one(models.folder)
    contents = models.contents()
    assert list(contents.manifests) == [good.sha256]
    (folder,) = contents.unusable
    assert folder.name == broken.name
    assert folder.problem.startswith(str(broken))
    assert folder.problem.isprintable()
    with pytest.raises(UserError, match=LISTED[break_one]):
        check_usable(None, contents.unusable)


def test_a_second_copy_of_an_artifact_is_named(models, good):
    """Nobody looks for it there, and the artifact itself is as usable as before."""
    shutil.copytree(good.folder, models.folder / "backup\udcff")
    contents = models.contents()
    assert list(contents.manifests) == [good.sha256]
    assert [(folder.model, folder.problem.isprintable()) for folder in contents.unusable] == [("good", True)]


def test_what_is_no_artifact_is_not_mentioned(models, good):
    """Notes, files and folders of other programs may lie in the store, as may a copy under a hidden name."""
    for name in ("notes", "lost+found", ".arriving"):
        (models.folder / name).mkdir()
    (models.folder / "README.txt").write_text("models")
    assert models.contents().unusable == []


def test_a_store_that_is_not_a_folder_is_one_sentence(tmp_path):
    """The store itself must be right: nothing could be found in it."""
    (tmp_path / "models").write_text("")
    with pytest.raises(UserError, match=rf"{tmp_path}/models: cannot be listed \(Not a directory\)"):
        FolderModelStore(tmp_path / "models").contents()


def test_a_wanted_model_is_refused_with_the_problem_of_its_folder(models, good):
    """By name or by hash, also if its manifest is of another format; another model is found all the same."""
    broken = newer_format(models.folder)
    for wanted in ("other", broken.name):
        with pytest.raises(UserError, match="another version of nightread wrote it"):
            find_by_name(wanted, models)
    assert find_by_name("good", models) == good


def test_a_half_copied_artifact_is_listed_by_its_manifest(models, good):
    """Whether its other files are there is seen when it is verified; that names all missing ones."""
    broken = half_copied(models.folder)
    (sha256,) = set(models.contents().manifests) - {good.sha256}
    with pytest.raises(UserError, match=rf"^{broken}: lacks model\.keras, split\.csv; wait until"):
        models.find(sha256)
