"""Registering an artifact takes its split over as it is."""

from sqlalchemy import select

from db.schema.tables import ModelScan
from tests.support.world import hash_artifact
from worker.artifacts.artifact import publish
from worker.artifacts.manifest import MODEL_FILE
from worker.artifacts.model_store import FolderModelStore
from worker.artifacts.registration import register_artifacts
from worker.artifacts.split_file import SplitRow, write_split

CONTENT = f"sha256:{'ab' * 32}"


def registered(engine, models):
    """Register the store's artifacts, and return the rows of their splits."""
    register_artifacts(engine, FolderModelStore(models))
    columns = (ModelScan.dataset, ModelScan.image_name, ModelScan.patient_id, ModelScan.subset, ModelScan.content)
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(ModelScan.image_name))]


def test_a_row_keeps_its_own_dataset_and_content(engine, tmp_path):
    """A row without a dataset is of the manifest's: a base model's patients are not this dataset's."""
    older = hash_artifact(tmp_path / "elsewhere")
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / MODEL_FILE).write_bytes(b"not a model")
    own = SplitRow(image_name="a.png", patient_id="1", subset="test")
    inherited = SplitRow(image_name="b.png", patient_id="1", subset="train", dataset="donor", content=CONTENT)
    write_split(staging, [own, inherited])
    publish(staging, tmp_path / "models", older.manifest.model_copy(update={"files": {}}))
    assert registered(engine, tmp_path / "models") == [
        ("sample_labels", "a.png", "1", "test", None),
        ("donor", "b.png", "1", "train", CONTENT),
    ]


def test_an_older_artifact_is_of_its_manifests_dataset_and_has_no_contents(engine, tmp_path):
    """Its `split.csv` has three columns."""
    hash_artifact(tmp_path / "models", split=[("a.png", "1", "train")])
    assert registered(engine, tmp_path / "models") == [("sample_labels", "a.png", "1", "train", None)]
