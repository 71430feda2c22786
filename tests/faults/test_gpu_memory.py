"""A device without enough memory for a batch, for one scan or for the model."""

import time

import numpy as np
import pytest

from db.findings import FINDINGS
from tests.support.world import radiograph, wait_until
from worker.supervision.restart_policy import MAX_PAUSE

NO_MEMORY = "no memory for the model yet"
#: Seconds from a worker's start until its model is loaded.
LOAD_SECONDS = 8
embedded = pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)


@pytest.fixture
def set_room(scenario, tmp_path):
    """Returns a function that sets the largest batch that fits the device from now on; None is any batch."""
    path = tmp_path / "room"

    def set_room(scans):
        if scans is None:
            path.unlink()
        else:
            (tmp_path / "next").write_text(str(scans))
            (tmp_path / "next").rename(path)

    scenario.world.env |= {"HASH_SCORER_ROOM": str(path), "HASH_SCORER_SECONDS": "0.3"}
    return set_room


@embedded
def test_a_device_short_of_memory_scores_the_same_in_halved_batches(scenario, set_room):
    """From a random moment one to seven scans fit at once: the batch shrinks to fit and stays small."""
    scenario.start()
    largest = scenario.rng.randint(1, 7)
    set_room(largest)
    short = time.monotonic()
    wait_until(
        lambda: "no memory for a batch of 8 scans: 4 from now on" in scenario.world.logs(), 20, scenario.world.logs()
    )
    scenario.recovers("GPU: no room for a whole batch", since=short, stated=10)
    scenario.finish()
    scenario.check()
    fits = next(size for size in (4, 2, 1) if size <= largest)
    assert f"{fits} from now on" in scenario.world.logs()
    assert f"{fits // 2} from now on" not in scenario.world.logs()
    assert scenario.world.rows("SELECT max(attempts) FROM outcomes") == [(0,)]


def test_a_device_without_memory_for_one_scan_costs_no_scan_its_score(scenario, set_room):
    """Its worker reports it and exits cleanly; no scan is blamed, and workers with memory score the scans.

    Each scan is alone in its message here, like a suspected poison scan.
    """
    scenario.world.env |= {"CXR_CHUNK_SIZE": "1", "HASH_SCORER_SECONDS": "0.2"}
    scenario.start()
    set_room(0)
    wait_until(lambda: "no memory for a batch of one scan; this worker ends" in scenario.world.logs(), 30)
    time.sleep(scenario.rng.uniform(1, 8))
    assert scenario.pending() > 0
    assert scenario.world.rows("SELECT max(attempts) FROM outcomes") == [(0,)], "no scan is to blame"
    set_room(None)
    scenario.recovers("GPU: no room for one scan", since=time.monotonic(), stated=MAX_PAUSE + LOAD_SECONDS)
    scenario.finish(120)
    scenario.check()
    assert scenario.world.rows("SELECT max(attempts) FROM outcomes") == [(0,)]
    assert "Traceback" not in scenario.world.logs()


@embedded
def test_a_device_without_memory_for_the_model_is_tried_again(scenario, set_room):
    """While another program holds the memory, the worker neither exits, nor refuses the model, nor logs a traceback."""
    set_room(-1)
    scenario.enqueue()
    workers = [scenario.worker() for _ in range(scenario.workers)]
    wait_until(lambda: scenario.world.logs().count(NO_MEMORY) > scenario.workers, 60, scenario.world.logs())
    time.sleep(scenario.rng.uniform(0, 5))
    assert scenario.decided() == 0
    assert all(worker.poll() is None for worker in workers)
    set_room(None)
    scenario.recovers("GPU: no room for the model", since=time.monotonic(), stated=MAX_PAUSE + LOAD_SECONDS)
    scenario.finish()
    scenario.check()
    assert "Traceback" not in scenario.world.logs()


@pytest.fixture(scope="module")
def densenet(tmp_path_factory):
    """A DenseNet of random weights for batches of 32."""
    from trainer.network.model import build_model
    from trainer.publishing.publish import write_artifact
    from trainer.recipe import make_recipe
    from worker.artifacts.manifest import Manifest
    from worker.artifacts.model_store import FolderModelStore

    recipe = make_recipe("best", encoder="densenet37", size=64)
    manifest = Manifest(
        format_version=2, name="real", findings=FINDINGS, preprocessing=recipe.preprocessing, dataset="other"
    )
    models = FolderModelStore(tmp_path_factory.mktemp("models"))
    return write_artifact(build_model(recipe, FINDINGS), manifest, split=(), models=models)


def pixels_of(artifact, count):
    from worker.images.pixels import preprocess

    rule = artifact.manifest.preprocessing
    return np.stack([preprocess(radiograph(number), rule) for number in range(count)])


def limit_memory(scorer, largest):
    """Raise TensorFlow's own error for every pass of more than `largest` scans, and return the sizes tried so far."""
    import tensorflow as tf

    tried, forward = [], scorer._forward

    def limited(batch):
        tried.append(len(batch))
        if len(batch) > largest:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return forward(batch)

    scorer._forward = limited
    return tried


@pytest.mark.parametrize("largest", [16, 8, 1])
def test_keras_out_of_memory_gives_the_same_scores_in_halved_batches(densenet, largest):
    """Other kernels may compute a smaller batch, so scores differ by float32's rounding only."""
    from worker.scoring.runtimes.keras import KerasScorer
    from worker.scoring.scorer import score_all

    pixels = pixels_of(densenet, 32)
    scorer = KerasScorer(densenet)
    whole = scorer.score(pixels)
    tried = limit_memory(scorer, largest)
    pieces = score_all(scorer, pixels)
    assert set(tried) == {size for size in (32, 16, 8, 4, 2, 1) if size >= largest}
    assert scorer.batch_size == largest
    difference = float(np.abs(pieces - whole).max())
    print(f"batch of {largest} against 32: {difference:.1e}")
    assert difference <= 1e-6
    # A scan's scores still depend on its pixels alone.
    assert (scorer.score(pixels[5:6]) == pieces[5:6]).all()


def test_keras_without_memory_for_one_scan_raises_an_error(densenet):
    """The caller gets `OutOfDeviceMemory`, an error of the device and not of the scan."""
    from db.errors import OutOfDeviceMemory
    from worker.scoring.runtimes.keras import KerasScorer
    from worker.scoring.scorer import score_all

    scorer = KerasScorer(densenet)
    tried = limit_memory(scorer, 0)
    with pytest.raises(OutOfDeviceMemory, match="no memory for a batch of one scan"):
        score_all(scorer, pixels_of(densenet, 3))
    assert tried == [32, 16, 8, 4, 2, 1]


def test_keras_without_memory_to_warm_up_starts_with_a_smaller_batch(densenet, monkeypatch):
    """A GPU that is too small for the artifact's batch can still score."""
    from worker.artifacts.keras_import import keras
    from worker.scoring.runtimes.keras import KerasScorer

    score = KerasScorer.score

    def score_small_batches(self, pixels):
        if self.batch_size > 8:
            raise MemoryError
        return score(self, pixels)

    monkeypatch.setattr(KerasScorer, "score", score_small_batches)
    scorer = KerasScorer(densenet)
    assert scorer.batch_size == 8
    assert scorer.score(pixels_of(densenet, 8)).shape == (8, len(FINDINGS))
    assert keras.__version__ in scorer.runtime
