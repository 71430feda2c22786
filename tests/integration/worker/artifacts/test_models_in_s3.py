"""The model store may be an S3 prefix: artifacts appear there only when complete, and copies are verified."""

import hashlib
import shutil
import time

import pytest

from db.errors import UserError
from tests.support.s3_server import VISITOR, client_of
from tests.support.world import hash_artifact
from worker.artifacts.artifact import load_artifact
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE, SPLIT_FILE
from worker.artifacts.model_store import S3ModelStore, open_model_store
from worker.artifacts.registration import register_artifacts


@pytest.fixture
def bucket(s3, boto, tmp_path):
    """An empty bucket, and boto3's client of it."""
    client = client_of(s3)
    name = f"models-{tmp_path.name.replace('_', '-').lower()[:40].strip('-')}"
    client.create_bucket(Bucket=name)
    return client, name


@pytest.fixture
def models(bucket, tmp_path):
    return open_model_store(f"s3://{bucket[1]}/chest/", tmp_path / "home")


def staged(tmp_path, name="m", **more):
    """A folder that is ready to be published, and its manifest."""
    made = hash_artifact(tmp_path / "made", name=name, **more)
    staging = tmp_path / f"staging-{name}"
    shutil.copytree(made.folder, staging)
    (staging / MANIFEST_FILE).unlink()
    return staging, made.manifest


def keys(bucket):
    client, name = bucket
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=name).get("Contents", ())]


def elsewhere(models, tmp_path):
    """The same place as another machine sees it, which has fetched nothing yet."""
    return S3ModelStore(models.address, tmp_path / "another machine")


def test_what_was_published_is_found_on_another_machine(models, bucket, tmp_path):
    """Every file under its hash, in a local folder that holds nothing else."""
    artifact = models.publish(*staged(tmp_path, split=[("a.png", "1", "train")]))
    assert sorted(keys(bucket)) == [
        f"chest/{artifact.sha256[:12]}/{file}" for file in (MANIFEST_FILE, MODEL_FILE, SPLIT_FILE)
    ]
    other = elsewhere(models, tmp_path)
    assert other.contents().manifests == {artifact.sha256: artifact.manifest}
    found = other.find(artifact.sha256)
    assert (found.sha256, found.manifest) == (artifact.sha256, artifact.manifest)
    assert found.folder.parent == tmp_path / "another machine"
    assert [path.name for path in found.folder.parent.iterdir()] == [artifact.sha256[:12]]
    assert load_artifact(found.folder) == found


def test_an_artifact_cannot_be_seen_before_it_is_whole(models, bucket, tmp_path, monkeypatch):
    """The manifest is written last: a publisher that dies before has published nothing."""

    def dies_at_the_manifest(location, path):
        if path.name == MANIFEST_FILE:
            raise KeyboardInterrupt
        write(location, path)

    from worker.artifacts.model_store import write_object as write

    monkeypatch.setattr("worker.artifacts.model_store.write_object", dies_at_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        models.publish(*staged(tmp_path))
    assert len(keys(bucket)) == 2
    assert elsewhere(models, tmp_path).contents().manifests == {}


def test_what_is_fetched_is_fetched_once_unless_it_was_damaged_here(models, bucket, tmp_path):
    """A worker's restart costs no transfer; a damaged copy on its disk is replaced."""
    artifact = models.publish(*staged(tmp_path))
    other = elsewhere(models, tmp_path)
    folder = other.find(artifact.sha256).folder
    before = (folder / MODEL_FILE).stat().st_ino
    assert other.find(artifact.sha256).folder == folder
    assert (folder / MODEL_FILE).stat().st_ino == before
    (folder / MODEL_FILE).write_bytes(b"half")
    assert load_artifact(other.find(artifact.sha256).folder).sha256 == artifact.sha256


def test_damage_in_the_store_is_refused(models, bucket, tmp_path):
    """A model with other weights would score wrongly without a sign, so it is never loaded."""
    artifact = models.publish(*staged(tmp_path))
    client, name = bucket
    client.put_object(Bucket=name, Key=f"chest/{artifact.sha256[:12]}/{MODEL_FILE}", Body=b"other weights")
    with pytest.raises(UserError, match=r"model\.keras: damaged"):
        elsewhere(models, tmp_path).find(artifact.sha256)


def test_folder_markers_are_not_files(models, bucket, tmp_path):
    """Consoles and copy tools leave an empty object of a folder's name."""
    artifact = models.publish(*staged(tmp_path))
    client, name = bucket
    for marker in ("", f"{artifact.sha256[:12]}/", f"{artifact.sha256[:12]}/more/", "abababababab/", "notes/"):
        client.put_object(Bucket=name, Key=f"chest/{marker}", Body=b"")
    other = elsewhere(models, tmp_path)
    assert (list(other.contents().manifests), other.contents().unusable) == ([artifact.sha256], [])
    assert load_artifact(other.find(artifact.sha256).folder).sha256 == artifact.sha256


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_half_uploaded_artifact_stops_nothing_but_itself(models, engine, bucket, tmp_path):
    """Its missing files are named, and none of it is downloaded until it is whole."""
    client, name = bucket
    whole, lacks_model, lacks_manifest = (models.publish(*staged(tmp_path, name=name)) for name in ("a", "b", "c"))
    for artifact, file in ((lacks_model, MODEL_FILE), (lacks_manifest, MANIFEST_FILE)):
        client.delete_object(Bucket=name, Key=f"chest/{artifact.sha256[:12]}/{file}")
    registration = register_artifacts(engine, elsewhere(models, tmp_path))
    assert [model.name for model in registration.new] == ["a"]
    problems = sorted(folder.problem for folder in registration.unusable)
    assert any(
        problem.startswith(f"{models.address}/{lacks_model.sha256[:12]}: lacks model.keras") for problem in problems
    )
    assert any(f"{lacks_manifest.sha256[:12]}/manifest.json: cannot be read" in problem for problem in problems)
    assert [path.name for path in (tmp_path / "another machine").iterdir()] == [whole.sha256[:12]]


def test_exports_lie_beside_an_artifact_and_are_fetched_with_it(models, tmp_path):
    """They do not change its identity."""
    artifact = models.publish(*staged(tmp_path))
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "model.onnx").write_bytes(b"graph")
    models.add(artifact, tmp_path / "exports", last="model.onnx")
    found = elsewhere(models, tmp_path).find(artifact.sha256)
    assert (found.folder / "model.onnx").read_bytes() == b"graph"
    assert found.sha256 == artifact.sha256


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_models_in_s3_are_registered_once_in_the_order_of_their_publication(models, engine, tmp_path):
    """The first one becomes the active model, as in a folder; the known ones are not fetched again."""
    for name in ("second by name", "a first by name"):
        models.publish(*staged(tmp_path, name=name))
        # S3 tells moments in whole seconds.
        time.sleep(1.1)
    other = elsewhere(models, tmp_path)
    registered = register_artifacts(engine, other).new
    assert [(model.name, model.active) for model in registered] == [
        ("second by name", True),
        ("a first by name", False),
    ]
    shutil.rmtree(tmp_path / "another machine")
    assert register_artifacts(engine, other).new == []
    assert not (tmp_path / "another machine").exists()


@pytest.mark.parametrize(
    ("address", "env", "sentence"),
    [
        ("s3://nobodys-bucket/models", {}, "s3://nobodys-bucket/models: cannot be listed: the bucket does not exist"),
        ("s3://", {}, "not of the form s3://bucket/prefix"),
        ("s3://models", VISITOR, "cannot be listed: these credentials are denied access"),
        ("s3://models", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "the endpoint does not answer"),
    ],
)
def test_a_place_that_cannot_be_read_is_one_sentence(boto, tmp_path, address, env, sentence):
    """It names the place and the cause."""
    boto(**env)
    with pytest.raises(UserError, match=sentence):
        open_model_store(address, tmp_path).contents()


def test_an_artifact_that_is_not_there_is_one_sentence(models, tmp_path):
    """The message names CXR_MODEL_DIR, and no partial copy is left."""
    with pytest.raises(UserError, match=r"no artifact abababababab here; CXR_MODEL_DIR"):
        elsewhere(models, tmp_path).find("ab" * 32)
    assert list((tmp_path / "another machine").iterdir()) == []


def test_an_artifact_of_another_place_is_copied_byte_for_byte_with_the_manifest_last(
    models, bucket, tmp_path, monkeypatch
):
    """So its identity stays, whatever program wrote its manifest; exports go with it, and hidden files do not."""
    from worker.artifacts.model_store import write_object as write

    order = []
    monkeypatch.setattr(
        "worker.artifacts.model_store.write_object",
        lambda location, path: (order.append(path.name), write(location, path)),
    )
    made = hash_artifact(tmp_path / "made")
    manifest = made.folder / MANIFEST_FILE
    manifest.write_text(manifest.read_text().replace("  ", "    "))
    identity = hashlib.sha256(manifest.read_bytes()).hexdigest()
    folder = made.folder.rename(tmp_path / "anywhere")
    for name in ("model.onnx", ".hidden"):
        (folder / name).touch()
    models.copy_in(load_artifact(folder))
    assert sorted(order) == sorted((MANIFEST_FILE, MODEL_FILE, SPLIT_FILE, "model.onnx"))
    assert order[-1] == MANIFEST_FILE
    assert elsewhere(models, tmp_path).find(identity).sha256 == identity


def test_a_removed_artifact_is_gone_from_the_store_and_from_this_machine(models, bucket, tmp_path, monkeypatch):
    """Its manifest goes first, so that what an interruption leaves is never fetched; the same call goes on."""
    from worker.artifacts.model_store import delete_object as delete

    kept, gone = models.publish(*staged(tmp_path, name="kept", model=b"1")), models.publish(*staged(tmp_path))

    def dies_after_the_manifest(location):
        if not location.endswith(MANIFEST_FILE):
            raise KeyboardInterrupt
        delete(location)

    monkeypatch.setattr("worker.artifacts.model_store.delete_object", dies_after_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        models.remove(gone.sha256)
    assert set(models.contents().manifests) == {kept.sha256}
    monkeypatch.undo()
    models.remove(gone.sha256)
    models.remove(gone.sha256)
    assert {key.split("/")[1] for key in keys(bucket)} == {kept.sha256[:12]}
    assert not gone.folder.exists()
    assert kept.folder.exists()
