"""One worker process a GPU, on a machine whose driver shows four."""

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
    """Four GPUs and a model."""
    world.python_path = (Path(__file__).parents[1] / "support" / "fake_nvml",)
    world.env["FAKE_NVML"] = ",".join(GPUS)
    hash_artifact(world.home / "models")
    return world


def is_celery(process):
    """Whether this is a worker process and has its own command line already."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "celery" in process.cmdline()
    return False


def pinned(supervisor):
    """The pid of each Celery worker by its GPU, as its exec environment tells."""
    workers = filter(is_celery, psutil.Process(supervisor.pid).children())
    return {worker.environ()["CUDA_VISIBLE_DEVICES"]: worker.pid for worker in workers}


def scoring_under(pid):
    """The pool process of a Celery worker, once it is there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                return child
    return None


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_a_gpu_that_can_no_longer_load_the_model_leaves_the_others_alone(machine, tmp_path):
    """Another program took its memory: its worker tries again and again, the other one keeps its process."""
    machine.env["HASH_SCORER_BROKEN"] = str(tmp_path / "broken")
    supervisor = machine.start("worker.cli", "start", "--gpus", "0,1")
    wait_until(lambda: machine.logs().count("loaded: hash") == 2, what=machine.logs())
    before = pinned(supervisor)
    (tmp_path / "broken").write_text(GPUS[0])
    scoring_under(before[GPUS[0]]).kill()
    wait_until(lambda: machine.logs().count("could be loaded here before") >= 2, what=machine.logs())
    (tmp_path / "broken").unlink()
    wait_until(lambda: machine.logs().count("loaded: hash") == 3, what=machine.logs())
    assert pinned(supervisor)[GPUS[1]] == before[GPUS[1]]


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_each_gpu_has_a_process_of_its_own_and_keeps_it(machine):
    """Pinned by UUID before any import; one that dies is started again on its GPU, and no other notices."""
    supervisor = machine.start("worker.cli", "start", "--gpus", "all")
    wait_until(lambda: len(pinned(supervisor)) == 4 and all(map(scoring_under, pinned(supervisor).values())))
    before = pinned(supervisor)
    assert set(before) == set(GPUS)
    for gpu, pid in before.items():
        environment = scoring_under(pid).environ()
        assert (environment["CUDA_VISIBLE_DEVICES"], environment["CUDA_DEVICE_ORDER"]) == (gpu, "PCI_BUS_ID")

    psutil.Process(before["GPU-ccc2"]).kill()
    wait_until(lambda: pinned(supervisor).get("GPU-ccc2", before["GPU-ccc2"]) != before["GPU-ccc2"])
    after = pinned(supervisor)
    assert {gpu for gpu in GPUS if after[gpu] != before[gpu]} == {"GPU-ccc2"}


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_processes_that_share_a_gpu_know_it(machine):
    """As many as asked for, each with its part of the GPU's memory and of the cores; the log tells them apart."""
    machine.env["CXR_PER_GPU"] = "2"
    supervisor = machine.start("worker.cli", "start", "--gpus", "1")
    wait_until(lambda: machine.logs().count("loaded: hash") == 2, what=machine.logs())
    environments = [worker.environ() for worker in filter(is_celery, psutil.Process(supervisor.pid).children())]
    names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", PROCESSES_VARIABLE)
    assert [[one[name] for name in names] for one in environments] == [["GPU-bbb1", "0.400", "2"]] * 2
    assert all(f"worker on gpu GPU-bbb1 {place}/2 started" in machine.logs() for place in (1, 2))


def scored(world):
    return world.rows("SELECT count(*) FROM scores")[0][0]


def waiting_in_the_queue(world):
    """The outcome ids of every chunk that any worker would get next."""
    (queue,) = world.broker.keys("score.*")
    bodies = [json.loads(message)["body"] for message in world.broker.lrange(queue, 0, -1)]
    chunks = [Chunk.from_message(json.loads(base64.b64decode(body))[0][0]) for body in bodies]
    return {scan.outcome_id for chunk in chunks for scan in chunk.scans}


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
def test_sigterm_drains_every_gpu(machine, tmp_path):
    """Those that were asked for hand their chunks back in time, and leave no process: the queue has what is pending."""
    machine.env["HASH_SCORER_SECONDS"] = "0.8"
    write_images(tmp_path / "images", SCANS)
    machine.producer("enqueue", "--csv", write_csv(tmp_path / "sample_labels.csv", SCANS))
    supervisor = machine.start("worker.cli", "start", "--gpus", "0,2")
    wait_until(lambda: machine.logs().count("loaded: hash") == 2 and scored(machine) >= 16)
    assert set(pinned(supervisor)) == {"GPU-aaa0", "GPU-ccc2"}
    descendants = psutil.Process(supervisor.pid).children(recursive=True)
    supervisor.terminate()
    assert supervisor.wait(GRACE_SECONDS) == 0
    assert psutil.wait_procs(descendants, timeout=5)[1] == []
    pending = {row[0] for row in machine.rows("SELECT id FROM outcomes WHERE state = 'pending'")}
    assert pending
    assert pending <= waiting_in_the_queue(machine)
    assert machine.broker.hlen("unacked") == 0
