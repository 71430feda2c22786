"""A model's name stands for one artifact, whole or not."""

import pytest

from db.errors import UserError
from tests.support.broken_artifacts import half_copied, half_manifest, newer_format
from trainer.data.training_data import Source
from trainer.publishing.publish import find_published
from trainer.recipe import Recipe
from worker.artifacts.model_store import FolderModelStore


@pytest.mark.parametrize("break_one", [half_copied, newer_format], ids=lambda broken: broken.__name__)
def test_the_name_of_a_broken_artifact_is_taken(tmp_path, break_one):
    """Once that artifact is whole, two would have the name."""
    folder = break_one(tmp_path)
    with pytest.raises(UserError, match=rf"--name 'other' already belongs to artifact {folder.name}"):
        find_published("other", Recipe(), Source(csv=tmp_path / "no.csv"), FolderModelStore(tmp_path))


def test_a_broken_artifact_keeps_no_other_name_from_being_published(tmp_path):
    """Not even if its manifest cannot be read."""
    half_manifest(tmp_path)
    assert find_published("new", Recipe(), Source(csv=tmp_path / "no.csv"), FolderModelStore(tmp_path)) is None
