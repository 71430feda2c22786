"""A real Keras model in a real worker."""

import os
import signal

import pytest

from db.findings import FINDINGS, column_of
from tests.support.world import image_name, radiograph, scoring_process, wait_until, write_csv, write_images

pytestmark = pytest.mark.slow

SCANS = range(40)
COLUMNS = ", ".join(column_of(finding) for finding in FINDINGS)


@pytest.fixture
def artifact(world):
    """A DenseNet with random weights, published to the workers' model folder."""
    from trainer.network.model import build_model
    from trainer.publishing.publish import write_artifact
    from trainer.recipe import make_recipe
    from worker.artifacts.manifest import Manifest
    from worker.artifacts.model_store import FolderModelStore

    recipe = make_recipe("best", encoder="densenet37", size=64)
    model = build_model(recipe, FINDINGS)
    world.env.pop("CXR_RUNTIME")
    manifest = Manifest(
        format_version=2, name="real", findings=FINDINGS, preprocessing=recipe.preprocessing, dataset="other"
    )
    return write_artifact(model, manifest, split=(), models=FolderModelStore(world.home / "models"))


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_scores_in_sql_are_the_models_even_after_the_scoring_process_was_killed(world, artifact, tmp_path):
    """Each row equals, to the bit, the output of the DenseNet in TensorFlow for that scan alone."""
    from worker.images.pixels import preprocess
    from worker.scoring.runtimes.keras import KerasScorer

    write_images(tmp_path / "images", SCANS)
    world.producer("enqueue", "--csv", write_csv(tmp_path / "sample_labels.csv", SCANS))
    worker = world.worker()
    wait_until(lambda: world.rows("SELECT count(*) FROM scores")[0][0] > 0, seconds=120, what="the first scores")
    child = scoring_process(worker)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: world.rows("SELECT pending FROM run_progress") == [(0,)], seconds=120, what="the run's end")

    scorer = KerasScorer(artifact)
    rule = artifact.manifest.preprocessing
    found = {name: scores for name, *scores in world.rows(f"SELECT image_name, {COLUMNS} FROM results_wide")}
    for number in SCANS:
        alone = scorer.score(preprocess(radiograph(number), rule)[None])[0].astype(float).tolist()
        assert found[image_name(number)] == alone
    assert world.rows("SELECT DISTINCT precision FROM results_wide") == [(scorer.precision,)]


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_a_model_that_contradicts_its_manifest_ends_the_worker(world, tmp_path):
    """A worker that cannot load its model exits with code 2 and one sentence and does not restart in a loop."""
    from trainer.network.model import build_model
    from trainer.publishing.publish import write_artifact
    from trainer.recipe import make_recipe
    from worker.artifacts.manifest import Manifest
    from worker.artifacts.model_store import FolderModelStore

    recipe = make_recipe("best", encoder="densenet37", size=32)
    model = build_model(recipe, FINDINGS[:3])
    world.env.pop("CXR_RUNTIME")
    manifest = Manifest(
        format_version=2, name="wrong", findings=FINDINGS, preprocessing=recipe.preprocessing, dataset="other"
    )
    write_artifact(model, manifest, split=(), models=FolderModelStore(world.home / "models"))

    worker = world.worker()
    assert worker.wait(120) == 2
    assert f"the model has 3 outputs, its manifest promises {len(FINDINGS)}" in world.logs()
