"""A model store in a shared folder: workers score from a verified local copy, which survives the folder's loss."""

import shutil

import pytest

from db.errors import UserError
from tests.support.world import hash_artifact
from worker.artifacts.artifact import load_artifact
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE
from worker.artifacts.model_store import open_model_store


@pytest.fixture
def share(tmp_path):
    return tmp_path / "share"


@pytest.fixture
def artifact(share):
    """What another machine published there."""
    return hash_artifact(share)


@pytest.fixture
def models(share, tmp_path):
    return open_model_store(str(share), tmp_path / "home")


def test_what_was_fetched_outlives_the_share(models, artifact, share, tmp_path):
    """A model that is replaced or deleted there while workers run does no harm here."""
    found = models.find(artifact.sha256)
    assert found.folder.parent == tmp_path / "home" / "fetched-models"
    (share / artifact.folder.name / MODEL_FILE).write_bytes(b"other weights")
    assert load_artifact(models.find(artifact.sha256).folder).sha256 == artifact.sha256
    shutil.rmtree(share)
    assert load_artifact(models.find(artifact.sha256).folder).sha256 == artifact.sha256


def test_a_damaged_copy_is_fetched_again(models, artifact):
    """Damage on this machine's disk is mended from the share."""
    folder = models.find(artifact.sha256).folder
    (folder / MODEL_FILE).write_bytes(b"half")
    assert load_artifact(models.find(artifact.sha256).folder).sha256 == artifact.sha256


def test_damage_on_the_share_is_refused_where_it_is(models, artifact, share, tmp_path):
    """The message names the shared file that must be replaced, and no copy is kept."""
    (share / artifact.folder.name / MODEL_FILE).write_bytes(b"other weights")
    with pytest.raises(UserError, match=rf"{share}.*model\.keras: damaged"):
        models.find(artifact.sha256)
    assert list((tmp_path / "home" / "fetched-models").iterdir()) == []


def test_a_stray_folder_in_an_artifact_is_left_on_the_share(models, artifact):
    """File servers put folders of their own beside the files."""
    (artifact.folder / "@eaDir").mkdir()
    assert not (models.find(artifact.sha256).folder / "@eaDir").exists()


def test_an_interrupted_fetch_leaves_nothing_half(models, artifact, tmp_path, monkeypatch):
    """The copy appears once it is whole."""

    def dies_at_the_manifest(source, target):
        if source.name == MANIFEST_FILE:
            raise KeyboardInterrupt
        return copy(source, target)

    from shutil import copyfile as copy

    monkeypatch.setattr("worker.artifacts.model_store.shutil.copyfile", dies_at_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        models.find(artifact.sha256)
    assert list((tmp_path / "home" / "fetched-models").iterdir()) == []


def test_exports_are_put_beside_both(models, artifact, share, tmp_path):
    """In the shared folder for other machines, and in the local copy that this one scores from."""
    found = models.find(artifact.sha256)
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "model.onnx").write_bytes(b"graph")
    models.add(found, tmp_path / "exports", last="model.onnx")
    for folder in (share / artifact.folder.name, found.folder):
        assert (folder / "model.onnx").read_bytes() == b"graph"


def test_a_machine_without_a_copy_adds_to_the_share_alone(models, artifact, share, tmp_path):
    """As the machine does that has just published the model."""
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "model.onnx").write_bytes(b"graph")
    models.add(artifact, tmp_path / "exports", last="model.onnx")
    assert (share / artifact.folder.name / "model.onnx").read_bytes() == b"graph"
    assert not (tmp_path / "home").exists()


def test_what_is_published_goes_to_the_share(models, artifact, share, tmp_path):
    """Whole, for every machine."""
    made = hash_artifact(tmp_path / "made", name="mine")
    shutil.copytree(made.folder, tmp_path / "staging")
    (tmp_path / "staging" / MANIFEST_FILE).unlink()
    assert models.publish(tmp_path / "staging", made.manifest).folder.parent == share
    assert set(models.contents().manifests) == {artifact.sha256, made.sha256}


def test_a_folder_of_this_machines_own_is_used_in_place(tmp_path):
    """One machine needs no second copy of its models."""
    home = tmp_path / "home"
    artifact = hash_artifact(home / "models")
    assert open_model_store(str(home / "models"), home).find(artifact.sha256).folder == artifact.folder
    assert not (home / "fetched-models").exists()
