"""A model's files are replaced, truncated, deleted or unreachable while workers run: no scan gets other scores."""

import shutil
import threading
import time
from datetime import datetime

import pytest

from tests.support.s3_proxy import S3Proxy
from tests.support.s3_server import bucket_for_all, client_of
from tests.support.world import hash_artifact, scoring_process, wait_until
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE
from worker.supervision.restart_policy import MAX_PAUSE

#: Seconds from a worker's start until its model is loaded.
LOAD_SECONDS = 10
embedded = pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
separate = pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
one_worker = pytest.mark.parametrize("workers", [1], indirect=True, ids=["1 worker"])
two_workers = pytest.mark.parametrize("workers", [2], indirect=True, ids=["2 workers"])


def other_weights(folder):
    (folder / MODEL_FILE).write_bytes(b"another model")


def another_artifact(folder):
    """Put an intact artifact of another model in the folder."""
    other = hash_artifact(folder.parent.parent / "others", name="other", model=b"another model")
    shutil.rmtree(folder)
    shutil.copytree(other.folder, folder)


def half_model(folder):
    content = (folder / MODEL_FILE).read_bytes()
    (folder / MODEL_FILE).write_bytes(content[: len(content) // 2])


def half_manifest(folder):
    content = (folder / MANIFEST_FILE).read_bytes()
    (folder / MANIFEST_FILE).write_bytes(content[: len(content) // 2])


def no_manifest(folder):
    (folder / MANIFEST_FILE).unlink()


def no_model(folder):
    (folder / MODEL_FILE).unlink()


#: The words that the log has for each kind of damage.
DAMAGES = {
    other_weights: "model.keras: damaged: the manifest says sha256",
    another_artifact: ", but the run needs",
    half_model: "model.keras: damaged: the manifest says sha256",
    half_manifest: "manifest.json: content is",
    no_manifest: "manifest.json: the manifest cannot be read",
    no_model: "lacks model.keras",
    shutil.rmtree: "CXR_MODEL_DIR must hold the model's folder",
}
damages = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


def single_folder(path):
    (folder,) = (entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return folder


@pytest.fixture
def backup(tmp_path, scenario):
    """An intact copy of the scenario's artifact, where no test damages it."""
    return shutil.copytree(single_folder(scenario.world.home / "models"), tmp_path / "kept")


def restore(folder, backup):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(backup, folder)


def kill_scoring_process(worker):
    """Send SIGKILL to the scoring process, which holds the model."""
    child = scoring_process(worker)
    child.kill()
    child.wait(5)


def stated_after_a_kill(scenario):
    """Stated seconds after a killed scoring process: those of the first load here, and 5 more."""
    moments = {}
    for line in scenario.world.logs().splitlines():
        for what in ("worker on cpu started", "loaded: hash"):
            if what in line:
                moments.setdefault(what, datetime.fromisoformat(line[:23].replace(",", ".")))
    return round((moments["loaded: hash"] - moments["worker on cpu started"]).total_seconds() + 5, 1)


def check_it_keeps_scoring(scenario, worker):
    """The scoring process goes on with the model that it has loaded, whatever lies on the disk."""
    child, decided = scoring_process(worker).pid, scenario.decided()
    wait_until(lambda: scenario.decided() > decided, 20, "more scans from the loaded model")
    assert scoring_process(worker).pid == child
    assert scenario.pending() > 0


def check_it_is_refused(scenario, worker, sentence):
    """New scoring processes refuse the files repeatedly, each in one sentence, and nothing is scored meanwhile."""
    wait_until(lambda: scenario.world.logs().count("trying again: ") > 1, 40, scenario.world.logs())
    said = [line for line in scenario.world.logs().splitlines() if "the model could be loaded here before" in line]
    assert all(sentence in line for line in said), said
    assert "UserError" not in scenario.world.logs(), "a traceback"
    assert worker.poll() is None
    decided = scenario.decided()
    time.sleep(scenario.rng.uniform(0, 6))
    assert scenario.decided() == decided
    assert scenario.pending() > 0


@embedded
@one_worker
@damages
def test_a_new_scoring_process_refuses_damaged_files_until_they_are_restored(scenario, backup, damage):
    """A scoring process that has the model goes on; a new one never scores with wrong bytes."""
    worker = scenario.start()
    folder = single_folder(scenario.world.home / "models")
    damage(folder)
    check_it_keeps_scoring(scenario, worker)
    kill_scoring_process(worker)
    check_it_is_refused(scenario, worker, DAMAGES[damage])
    restore(folder, backup)
    scenario.recovers(f"artifact: {damage.__name__}, restored", since=time.monotonic(), stated=MAX_PAUSE + LOAD_SECONDS)
    scenario.finish()
    scenario.check()


@separate
@two_workers
@damages
def test_workers_with_intact_files_finish_the_run(scenario, tmp_path, damage):
    """A worker on another machine scores everything; the worker with damaged files waits."""
    other_home = tmp_path / "other machine"
    shutil.copytree(scenario.world.home / "models", other_home / "models")
    damaged = scenario.worker()
    scenario.world.env["CXR_HOME"] = str(other_home)
    scenario.worker()
    scenario.world.env["CXR_HOME"] = str(scenario.world.home)
    scenario.enqueue()
    wait_until(lambda: scenario.world.logs().count("loaded: hash") == 2, 60, scenario.world.logs())
    scenario.reach(scenario.rng.uniform(0.1, 0.4))
    damage(single_folder(scenario.world.home / "models"))
    kill_scoring_process(damaged)
    scenario.recovers(f"artifact: {damage.__name__}, a peer goes on", since=time.monotonic(), stated=5)
    scenario.finish()
    scenario.check()
    wait_until(lambda: DAMAGES[damage] in scenario.world.logs(), 20, scenario.world.logs())
    assert damaged.poll() is None
    assert "UserError" not in scenario.world.logs(), "a traceback"


@pytest.fixture
def store(request, scenario, backup, tmp_path):
    """A model store that all machines share: a folder or a bucket, by the parameter."""
    made = {"share": SharedFolder, "s3": Bucket}[request.param](request, backup, tmp_path)
    # Slower batches: enqueuing takes time, too.
    scenario.world.env |= made.env | {"HASH_SCORER_SECONDS": "1.4"}
    shutil.rmtree(scenario.world.home / "models")
    yield made
    made.close()


class SharedFolder:
    """A model store in a folder outside every home."""

    def __init__(self, _request, backup, tmp_path):
        self.folder = tmp_path / "share" / artifact_folder_name(backup)
        self.env = {"CXR_MODEL_DIR": str(self.folder.parent)}
        self.backup = backup
        self.restore()

    def damage(self):
        other_weights(self.folder)

    def restore(self):
        restore(self.folder, self.backup)

    def close(self):
        pass


class Bucket:
    """A model store under a prefix of a bucket, behind a proxy."""

    def __init__(self, request, backup, tmp_path):
        s3 = request.getfixturevalue("s3")
        self.proxy = S3Proxy(s3["AWS_ENDPOINT_URL_S3"], request.getfixturevalue("rng"))
        self.client, self.backup = client_of(s3), backup
        self.name, self.prefix = bucket_for_all(s3), f"{tmp_path.name}/models"
        self.env = s3 | {"AWS_ENDPOINT_URL_S3": self.proxy.address, "CXR_MODEL_DIR": f"s3://{self.name}/{self.prefix}"}
        self.restore()

    def _put(self, name, content):
        self.client.put_object(
            Bucket=self.name, Key=f"{self.prefix}/{artifact_folder_name(self.backup)}/{name}", Body=content
        )

    def damage(self):
        self._put(MODEL_FILE, b"another model")

    def restore(self):
        for path in self.backup.iterdir():
            self._put(path.name, path.read_bytes())

    def close(self):
        self.proxy.stop()


def artifact_folder_name(backup):
    """The name that an artifact's folder must have: the start of its manifest's hash."""
    from worker.artifacts.artifact import load_artifact

    return load_artifact(backup).sha256[:12]


stores = pytest.mark.parametrize("store", ["share", "s3"], indirect=True)


@separate
@stores
@pytest.mark.parametrize("where", ["in the store", "here"])
def test_damage_to_the_store_or_to_the_local_copy_alone_is_harmless(scenario, store, where):
    """Workers load their local copy even if the store is damaged, and fetch a damaged copy again."""
    worker = scenario.start()
    if where == "here":
        other_weights(single_folder(scenario.world.home / "fetched-models"))
    else:
        store.damage()
    check_it_keeps_scoring(scenario, worker)
    for each in scenario.running:
        kill_scoring_process(each)
    scenario.recovers(
        f"artifact: damaged {where}, child killed", since=time.monotonic(), stated=stated_after_a_kill(scenario)
    )
    scenario.finish()
    scenario.check()


@separate
@one_worker
@stores
def test_damage_to_store_and_local_copy_is_refused_until_the_store_is_restored(scenario, store):
    """The log names the file that must be repaired."""
    worker = scenario.start()
    store.damage()
    other_weights(single_folder(scenario.world.home / "fetched-models"))
    check_it_keeps_scoring(scenario, worker)
    kill_scoring_process(worker)
    check_it_is_refused(scenario, worker, "model.keras: damaged")
    store.restore()
    scenario.recovers(
        "artifact: damaged on both sides, store restored", since=time.monotonic(), stated=MAX_PAUSE + LOAD_SECONDS
    )
    scenario.finish()
    scenario.check()


@separate
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_workers_keep_scoring_while_the_model_store_is_down(scenario, store):
    """A new scoring process loads its machine's local copy."""
    worker = scenario.start()
    store.proxy.stop()
    check_it_keeps_scoring(scenario, worker)
    for each in scenario.running:
        kill_scoring_process(each)
    scenario.recovers("artifact: S3 down, child killed", since=time.monotonic(), stated=stated_after_a_kill(scenario))
    scenario.finish()
    scenario.check()


@separate
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_worker_that_starts_while_the_model_store_is_down_reports_it_and_exits(scenario, store):
    """It exits with 2 for its service manager to start it again; the work waits in SQL."""
    scenario.enqueue()
    store.proxy.stop()
    early = scenario.world.worker()
    assert early.wait(60) == 2
    assert "error: s3://" in scenario.world.logs()
    assert "cannot be listed: the endpoint does not answer" in scenario.world.logs().replace("\n", " ")
    assert "UserError" not in scenario.world.logs(), "a traceback"
    assert scenario.decided() == 0
    store.proxy.start()
    for _ in range(scenario.workers):
        scenario.worker()
    scenario.recovers(
        "artifact: S3 down at a worker's start, started again", since=time.monotonic(), stated=3 * LOAD_SECONDS
    )
    scenario.finish()
    scenario.check()


class ChangingFile(threading.Thread):
    """Replaces a model file by other weights and restores it, every few milliseconds."""

    def __init__(self, path, rng):
        super().__init__(daemon=True)
        self._path, self._rng = path, rng
        self._contents = (b"another model", path.read_bytes())
        self._done = threading.Event()
        self.changes = 0
        self.start()

    def run(self):
        while not self._done.wait(self._rng.uniform(0, 0.004)):
            self._put(self._contents[0])
            time.sleep(self._rng.uniform(0, 0.004))
            self._put(self._contents[1])
            self.changes += 1

    def _put(self, content):
        arriving = self._path.with_name(".arriving")
        arriving.write_bytes(content)
        arriving.replace(self._path)

    def stop(self):
        self._done.set()
        self.join()


@embedded
@one_worker
def test_a_file_that_changes_between_its_hash_and_its_use_is_not_used(scenario):
    """Scoring processes are killed while the file changes: each new one loads the right bytes or none."""
    # Slow enough that work is left for the scoring process that loads last.
    scenario.world.env["HASH_SCORER_SECONDS"] = "2"
    worker = scenario.start()
    changing = ChangingFile(single_folder(scenario.world.home / "models") / MODEL_FILE, scenario.rng)
    for _ in range(2):
        # A scoring process that found other weights has ended, and the next one may not have started yet.
        wait_until(lambda: (child := scoring_process(worker)) and (child.kill() or True), 60, scenario.world.logs())
        time.sleep(scenario.rng.uniform(2, 6))
    assert scenario.pending() > 0
    changing.stop()
    assert changing.changes > 100
    scenario.recovers(
        "artifact: a file that changes all the time", since=time.monotonic(), stated=MAX_PAUSE + LOAD_SECONDS
    )
    scenario.finish()
    scenario.check()
