"""Kills, signals and poison scans with a real network give the quiet run's scores within rounding."""

import signal
import time

import cv2
import numpy as np
import psutil
import pytest

from db.findings import FINDINGS
from tests.support.harmful_scorer import poison_image
from tests.support.scenario import (
    descendants,
    load_seconds,
    name_of,
    run_quietly,
    scoring_process_load_seconds,
    write_source,
)
from tests.support.world import scoring_process, wait_until, write_csv

SCANS = 40
CHUNK = 4
VISIBILITY_SECONDS = 60
SLACK_SECONDS = 5
#: A few units in the last place of a float32 score near 1.
TOLERANCE = 1e-6
pytestmark = [pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model folder with one model, a DenseNet of random weights."""
    from trainer.network.model import build_model
    from trainer.publishing.publish import write_artifact
    from trainer.recipe import make_recipe
    from worker.artifacts.manifest import Manifest
    from worker.artifacts.model_store import FolderModelStore

    recipe = make_recipe("best", encoder="densenet37", size=64)
    manifest = Manifest(
        format_version=2,
        name="real",
        findings=FINDINGS,
        preprocessing=recipe.preprocessing,
        dataset="other",
        batch_size=CHUNK,
    )
    folder = tmp_path_factory.mktemp("models")
    write_artifact(build_model(recipe, FINDINGS), manifest, split=(), models=FolderModelStore(folder))
    return folder


@pytest.fixture(scope="module")
def quiet_real(tmp_path_factory, models):
    folder = tmp_path_factory.mktemp("quiet-real")
    return run_quietly(folder, write_source(folder, SCANS), CXR_MODEL_DIR=str(models), CXR_RUNTIME="keras")


@pytest.fixture
def real(scenario, models, quiet_real):
    """The scenario with the real model and fewer scans."""
    scenario.csv = write_source(scenario.csv.parent / "real", SCANS)
    scenario.quiet = quiet_real
    scenario.world.env |= {
        "CXR_RUNTIME": "tests.support.harmful_scorer:harmful_model",
        "CXR_MODEL_DIR": str(models),
        "CXR_VISIBILITY_TIMEOUT": str(VISIBILITY_SECONDS),
        "CXR_CHUNK_SIZE": str(CHUNK),
    }
    return scenario


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_the_successor_of_a_killed_scoring_process_gives_the_same_scores(real):
    worker = real.start()
    load, child = scoring_process_load_seconds(real, worker), scoring_process(worker)
    child.kill()
    killed = time.monotonic()
    child.wait(5)
    real.recovers("SIGKILL of the child, Keras", since=killed, stated=load + SLACK_SECONDS)
    real.finish(seconds=200)
    real.check(within=TOLERANCE)


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_the_peer_of_a_stopped_worker_gives_the_same_scores(real, tmp_path):
    word = tmp_path / "harm"
    real.world.env["HARM_FILE"] = str(word)
    worker = real.start()
    load_seconds(real, worker)
    word.write_text("hang at score")
    wait_until(lambda: not word.exists(), 60, "the hang")
    (taken,) = tmp_path.glob("harm.*")
    hung = psutil.Process(int(taken.suffix[1:]))
    victim = next(one for one in real.running if hung in descendants(one))
    lost = real.held_by_somebody()
    assert real.waits_for(lost)
    victim.send_signal(signal.SIGTERM)
    assert victim.wait(30) == 0
    stopped = time.monotonic()
    # The peer may still be loading.
    load = load_seconds(real, next(one for one in real.running if one is not victim))
    real.recovers("SIGTERM, Keras", since=stopped, stated=load + SLACK_SECONDS, lost=lost)
    real.finish(seconds=200)
    real.check(within=TOLERANCE)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_poison_scan_is_quarantined_by_a_real_model(real, models, tmp_path):
    images = real.csv.parent / "images"
    real.csv = write_csv(images.parent / "few.csv", range(2 * CHUNK), name_of=name_of)
    poison = real.rng.randrange(2 * CHUNK)
    cv2.imwrite(str(images / name_of(poison)), poison_image(np.random.default_rng(poison), "segfault"))
    env = {"CXR_MODEL_DIR": str(models), "CXR_RUNTIME": "keras"}
    real.quiet = run_quietly(tmp_path / "quiet", real.csv, quarantined=[name_of(poison)], **env)
    worker = real.worker()
    wait_until(lambda: "loaded: " in real.world.logs(), 120, f"a loaded model\n{real.world.logs()}")
    load = scoring_process_load_seconds(real, worker)
    real.enqueue()
    # Two halvings, and three deaths while the scan is alone.
    real.ends("poison scan: segfault, Keras", since=time.monotonic(), stated=5 * (load + SLACK_SECONDS))
    real.check(within=TOLERANCE)
