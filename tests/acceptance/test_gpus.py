"""One worker process per GPU, on a machine whose driver lists four GPUs."""

import base64
import contextlib
import json
from pathlib import Path

import psutil
import pytest

from tests.support.world import hash_artifact, wait_until, write_csv, write_images
from worker.messaging.messages import Chunk
from worker.settings import PROCESSES_VARIABLE
from worker.supervision.supervisor import GRACE_SECONDS

GPUS = ("GPU-aaa0", "GPU-bbb1", "GPU-ccc2", "GPU-ddd3")
SCANS = range(96)


@pytest.fixture
def machine(world):
    """A machine with four GPUs and a model."""
    world.python_path = (Path(__file__).parents[1] / "support" / "fake_nvml",)
    world.env["FAKE_NVML"] = ",".join(GPUS)
    hash_artifact(world.home / "models")
    return world


def is_celery_worker(process):
    """Return whether this is a worker process that already has its own command line."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "worker.celery_worker" in process.cmdline()
    return False


def worker_pids(supervisor):
    """Return the pid of each Celery worker by the GPU in its exec environment."""
    workers = filter(is_celery_worker, psutil.Process(supervisor.pid).children())
    return {worker.environ()["CUDA_VISIBLE_DEVICES"]: worker.pid for worker in workers}


def pool_process(pid):
    """Return the pool process of a Celery worker, or None before it exists."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                return child
    return None


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_a_gpu_that_can_no_longer_load_the_model_leaves_the_others_alone(machine, tmp_path):
    """A worker retries while another program holds its GPU's memory, and the other worker keeps its process."""
    machine.env["HASH_SCORER_BROKEN"] = str(tmp_path / "broken")
    supervisor = machine.start("worker.cli", "start", "--gpus", "0,1")
    wait_until(lambda: machine.logs().count("loaded: hash") == 2, what=machine.logs())
    before = worker_pids(supervisor)
    (tmp_path / "broken").write_text(GPUS[0])
    pool_process(before[GPUS[0]]).kill()
    wait_until(lambda: machine.logs().count("could be loaded here before") >= 2, what=machine.logs())
    (tmp_path / "broken").unlink()
    wait_until(lambda: machine.logs().count("loaded: hash") == 3, what=machine.logs())
    assert worker_pids(supervisor)[GPUS[1]] == before[GPUS[1]]


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_each_gpu_keeps_a_process_of_its_own(machine):
    """Each worker is pinned by UUID before any import, and a worker that dies is restarted alone on its GPU."""
    supervisor = machine.start("worker.cli", "start", "--gpus", "all")
    wait_until(lambda: len(worker_pids(supervisor)) == 4 and all(map(pool_process, worker_pids(supervisor).values())))
    before = worker_pids(supervisor)
    assert set(before) == set(GPUS)
    for gpu, pid in before.items():
        environment = pool_process(pid).environ()
        assert (environment["CUDA_VISIBLE_DEVICES"], environment["CUDA_DEVICE_ORDER"]) == (gpu, "PCI_BUS_ID")

    psutil.Process(before["GPU-ccc2"]).kill()
    wait_until(lambda: worker_pids(supervisor).get("GPU-ccc2", before["GPU-ccc2"]) != before["GPU-ccc2"])
    after = worker_pids(supervisor)
    assert {gpu for gpu in GPUS if after[gpu] != before[gpu]} == {"GPU-ccc2"}


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_processes_that_share_a_gpu_divide_its_memory(machine):
    """Each of the requested processes gets its share of the GPU's memory and of the cores, and the log numbers them."""
    machine.env["CXR_PER_GPU"] = "2"
    supervisor = machine.start("worker.cli", "start", "--gpus", "1")
    wait_until(lambda: machine.logs().count("loaded: hash") == 2, what=machine.logs())
    environments = [worker.environ() for worker in filter(is_celery_worker, psutil.Process(supervisor.pid).children())]
    names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", PROCESSES_VARIABLE)
    assert [[one[name] for name in names] for one in environments] == [["GPU-bbb1", "0.400", "2"]] * 2
    assert all(f"worker on gpu GPU-bbb1 {place}/2 started" in machine.logs() for place in (1, 2))


def count_scores(world):
    return world.rows("SELECT count(*) FROM scores")[0][0]


def queued_outcomes(world):
    """Return the outcome ids of every chunk in the queue."""
    (queue,) = world.broker.keys("score.*")
    bodies = [json.loads(message)["body"] for message in world.broker.lrange(queue, 0, -1)]
    chunks = [Chunk.from_message(json.loads(base64.b64decode(body))[0][0]) for body in bodies]
    return {scan.outcome_id for chunk in chunks for scan in chunk.scans}


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_sigterm_drains_every_gpu(machine, tmp_path):
    """The requested GPUs' workers return every pending scan to the queue in time and leave no process."""
    machine.env["HASH_SCORER_SECONDS"] = "0.8"
    write_images(tmp_path / "images", SCANS)
    machine.producer("enqueue", "--csv", write_csv(tmp_path / "sample_labels.csv", SCANS))
    supervisor = machine.start("worker.cli", "start", "--gpus", "0,2")
    wait_until(lambda: machine.logs().count("loaded: hash") == 2 and count_scores(machine) >= 16)
    assert set(worker_pids(supervisor)) == {"GPU-aaa0", "GPU-ccc2"}
    descendants = psutil.Process(supervisor.pid).children(recursive=True)
    supervisor.terminate()
    assert supervisor.wait(GRACE_SECONDS) == 0
    assert psutil.wait_procs(descendants, timeout=5)[1] == []
    pending = {row[0] for row in machine.rows("SELECT id FROM outcomes WHERE state = 'pending'")}
    assert pending
    assert pending <= queued_outcomes(machine)
    assert machine.broker.hlen(f"unacked.{machine.ledger}") == 0
