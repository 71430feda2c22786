"""A fit begins from a model that only S3 has."""

import shutil

from tests.support.s3_server import client_of
from tests.support.world import hash_artifact
from trainer.fitting.base_model import begin_recipe, find_base_model, weights_file
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE
from worker.artifacts.model_store import S3ModelStore


def test_a_model_of_a_store_in_s3_is_fetched(s3, boto, tmp_path):
    """The recipe names its hash, and its file of weights is on this machine's disk."""
    client_of(s3).create_bucket(Bucket="base-models")
    made = hash_artifact(tmp_path / "made", encoder="densenet37", model=b"weights")
    shutil.copytree(made.folder, tmp_path / "staging", ignore=shutil.ignore_patterns(MANIFEST_FILE))
    published = S3ModelStore("s3://base-models/chest", tmp_path / "one").publish(tmp_path / "staging", made.manifest)
    models = S3ModelStore("s3://base-models/chest", tmp_path / "another")
    recipe = begin_recipe("best", {"weights": "hash", "scaling": "unit"}, models)
    assert (recipe.weights, recipe.encoder) == (published.sha256, "densenet37")
    file = weights_file(recipe.weights, find_base_model(recipe.weights, models))
    assert file == str(tmp_path / "another" / published.sha256[:12] / MODEL_FILE)
    assert (tmp_path / "another" / published.sha256[:12] / MODEL_FILE).read_bytes() == b"weights"
