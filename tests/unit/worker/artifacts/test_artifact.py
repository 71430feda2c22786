"""An artifact is published whole, named by what it holds, and refused when a byte of it changed."""

import hashlib
import json
import os
import shutil

import pytest

from db.errors import UserError
from tests.support.world import hash_artifact
from worker.artifacts.artifact import file_sha256, find_artifact, load_artifact, publish
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE, SPLIT_FILE, Manifest
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.split_file import SplitRow, read_split, write_split


@pytest.fixture
def artifact(tmp_path):
    return hash_artifact(tmp_path / "models", split=[("a.png", "1", "train"), ("b.png", "", "test")])


@pytest.fixture
def stage(tmp_path):
    """A staging folder with these bytes as its model."""

    def stage(model=b"weights"):
        folder = tmp_path / "staging"
        folder.mkdir()
        (folder / MODEL_FILE).write_bytes(model)
        (folder / SPLIT_FILE).write_text("image_name,patient_id,subset\n")
        return folder

    return stage


MANIFEST = Manifest(name="m", findings=("Effusion",), dataset="d")


def test_a_published_artifact_holds_every_file_under_its_hash(tmp_path, stage):
    """Nothing is missing, nothing is unsealed, and the staging folder is gone."""
    staging = stage()
    artifact = publish(staging, tmp_path / "models", MANIFEST)
    assert artifact.sha256 == hashlib.sha256((artifact.folder / MANIFEST_FILE).read_bytes()).hexdigest()
    assert artifact.folder == tmp_path / "models" / artifact.sha256[:12]
    assert {path.name for path in artifact.folder.iterdir()} == {MANIFEST_FILE, MODEL_FILE, SPLIT_FILE}
    assert artifact.manifest.files[MODEL_FILE] == hashlib.sha256(b"weights").hexdigest()
    assert set(artifact.manifest.files) == {MODEL_FILE, SPLIT_FILE}
    assert not staging.exists()
    assert list((tmp_path / "models").iterdir()) == [artifact.folder]


def test_publishing_the_same_bytes_twice_changes_nothing(tmp_path, stage):
    """The folder that is there already wins, and nothing is left over."""
    first = publish(stage(), tmp_path / "models", MANIFEST)
    before = first.folder.stat().st_mtime_ns
    again = publish(stage(), tmp_path / "models", MANIFEST)
    assert (again.sha256, again.folder) == (first.sha256, first.folder)
    assert first.folder.stat().st_mtime_ns == before
    assert list((tmp_path / "models").iterdir()) == [first.folder]
    assert not (tmp_path / "staging").exists()


def test_other_bytes_are_another_artifact(tmp_path, stage):
    """One changed byte of the model changes the identity."""
    first = publish(stage(b"weights"), tmp_path / "models", MANIFEST)
    other = publish(stage(b"weightz"), tmp_path / "models", MANIFEST)
    assert first.sha256 != other.sha256
    assert set(FolderModelStore(tmp_path / "models").contents().manifests) == {first.sha256, other.sha256}


def test_what_a_killed_publish_left_behind_spoils_no_later_one(tmp_path, stage):
    """In a container every trainer has the same pid."""
    left = tmp_path / "models" / f".arriving-{os.getpid()}"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    artifact = publish(stage(), tmp_path / "models", MANIFEST)
    assert {path.name for path in artifact.folder.iterdir()} == {MANIFEST_FILE, MODEL_FILE, SPLIT_FILE}


@pytest.mark.parametrize("name", [MODEL_FILE, SPLIT_FILE])
def test_one_changed_byte_is_refused_with_both_hashes(artifact, name):
    """A damaged model must not score."""
    path = artifact.folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        find_artifact(artifact.folder.parent, artifact.sha256)
    for part in (str(path), artifact.manifest.files[name], hashlib.sha256(content).hexdigest()):
        assert part in str(caught.value)


def test_a_changed_manifest_is_another_identity(artifact):
    """Editing the manifest in place makes another model than the run needs; the message gives both hashes."""
    path = artifact.folder / MANIFEST_FILE
    path.write_text(path.read_text().replace('"batch_size": 8', '"batch_size": 9'))
    with pytest.raises(UserError) as caught:
        find_artifact(artifact.folder.parent, artifact.sha256)
    assert artifact.sha256 in str(caught.value)
    assert file_sha256(path) in str(caught.value)


def test_a_missing_file_is_refused_by_name(artifact):
    """An artifact without its model cannot score."""
    (artifact.folder / MODEL_FILE).unlink()
    with pytest.raises(UserError, match=r"lacks model\.keras; wait until its copy is complete"):
        load_artifact(artifact.folder)


def test_an_absent_artifact_is_named_with_where_it_was_looked_for(tmp_path):
    """The message names the folder and the variable that sets it."""
    with pytest.raises(UserError, match=rf"^{tmp_path}/abababababab: no artifact abababababab here; CXR_MODEL_DIR"):
        find_artifact(tmp_path, "ab" * 32)


def test_half_arrived_artifacts_are_not_listed(artifact):
    """A folder that is still being copied does not count as a model."""
    models = artifact.folder.parent
    shutil.copytree(artifact.folder, models / ".arriving-1")
    (models / "notes").mkdir()
    assert list(FolderModelStore(models).contents().manifests) == [artifact.sha256]
    assert FolderModelStore(models / "nowhere").contents().manifests == {}


def test_a_split_is_read_row_by_row(artifact):
    """An empty patient is an unknown one."""
    assert list(read_split(artifact.folder)) == [
        SplitRow(image_name="a.png", patient_id="1", subset="train"),
        SplitRow(image_name="b.png", patient_id=None, subset="test"),
    ]


def test_a_split_names_datasets_and_contents_where_they_are_known(artifact):
    """Older artifacts have neither column, and other rows have empty cells."""
    rows = [
        SplitRow(image_name="a.png", patient_id="1", subset="train", dataset="donor", content=f"sha256:{'ab' * 32}"),
        SplitRow(image_name="b.png", patient_id=None, subset="test"),
    ]
    write_split(artifact.folder, rows)
    assert list(read_split(artifact.folder)) == rows


def test_an_unknown_subset_is_refused_beside_the_known_ones(artifact):
    """A scan that was trained on must not pass as held out for a spelling."""
    (artifact.folder / SPLIT_FILE).write_text("image_name,patient_id,subset\na.png,1,Train\n")
    with pytest.raises(UserError, match=r"line 2: the subset is not one of train, validation, test"):
        list(read_split(artifact.folder))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"image_name,subset\na.png,train\n",
        b"image_name,patient_id,subset\na.png\n",
        b"image_name,patient_id,subset\na.png,1,train,more\n",
        b"image_name,patient_id,subset\n,1,train\n",
        b"image_name,patient_id,subset\na\0.png,1,train\n",
        b"image_name,patient_id,subset\n\xff.png,1,train\n",
        b"image_name,patient_id,subset\n" + b"a" * 200_000 + b",1,train\n",
        b"image_name,patient_id,subset,dataset\na.png,1,train,d\0\n",
        b"image_name,patient_id,subset,dataset,content\na.png,1,train,d\n",
        b"image_name,patient_id,subset,dataset,content\na.png,1,train,d,ABAB\n",
    ],
    ids=[
        *("empty", "a column less", "a short row", "a long row", "no name", "NUL", "no UTF-8", "a huge cell"),
        *("NUL in the dataset", "no cell of a content", "no sha256"),
    ],
)
def test_a_split_that_is_no_such_table_is_one_sentence(artifact, content):
    """Found by fuzzing: a hand-made artifact with such a file caused a traceback."""
    (artifact.folder / SPLIT_FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"split\.csv: not a table of image_name, patient_id, subset") as caught:
        list(read_split(artifact.folder))
    assert str(caught.value).isprintable()


def test_a_split_with_a_patient_id_that_excel_shortened_is_refused(artifact):
    """Held out by patient would mean nothing: it stands for everybody whose id begins with these digits."""
    (artifact.folder / "split.csv").write_text("image_name,patient_id,subset\na.png,2.01911E+11,train\n")
    with pytest.raises(UserError, match=r"split\.csv: line 2: the patient id is in scientific notation"):
        list(read_split(artifact.folder))


def test_a_split_that_is_not_there_is_one_sentence(artifact):
    """A manifest need not list it."""
    (artifact.folder / SPLIT_FILE).unlink()
    with pytest.raises(UserError, match=r"split\.csv: cannot be read \(No such file"):
        list(read_split(artifact.folder))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", "", "a/b", "a\\b", ".", "a\0b", "\x1b[2J", MANIFEST_FILE]
)
def test_a_manifest_that_names_files_elsewhere_is_refused_before_any_is_read(artifact, name, tmp_path):
    """An artifact from elsewhere must not reveal the hashes of other files of this machine."""
    (tmp_path / "models" / "secret").write_text("canary")
    secret = hashlib.sha256(b"canary").hexdigest()
    path = artifact.folder / MANIFEST_FILE
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "files": {**manifest["files"], name: "0" * 64}}))
    with pytest.raises(UserError, match=r"files is .*not the name of a file beside the manifest") as caught:
        load_artifact(artifact.folder)
    assert secret not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_manifest_that_does_not_vouch_for_its_model_is_refused(artifact):
    """Otherwise any bytes could replace the model, and their scores would be stored under the same identity."""
    path = artifact.folder / MANIFEST_FILE
    manifest = json.loads(path.read_bytes())
    del manifest["files"][MODEL_FILE]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"does not list model\.keras"):
        load_artifact(artifact.folder)
