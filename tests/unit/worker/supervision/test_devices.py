"""Which device each worker process gets."""

import importlib.util
from pathlib import Path

import pynvml
import pytest

from db.errors import UserError
from worker.settings import PROCESSES_VARIABLE, WorkerSettings
from worker.supervision.devices import choose_devices

FAKE = Path(__file__).parents[3] / "support" / "fake_nvml" / "pynvml.py"
FOUR = "GPU-aaa0,GPU-aab1,GPU-ccc2,GPU-ddd3"
SLICED = "GPU-aaa0,GPU-bbb1=MIG-x0+MIG-y1,GPU-ccc2="


@pytest.fixture
def machine(monkeypatch):
    """Makes this a machine with these cards, and this CUDA_VISIBLE_DEVICES."""
    spec = importlib.util.spec_from_file_location("pynvml", FAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", module)
    monkeypatch.delenv("FAKE_NVML", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def become(cards, visible=None):
        for name, value in (("FAKE_NVML", cards), ("CUDA_VISIBLE_DEVICES", visible)):
            if value is not None:
                monkeypatch.setenv(name, value)

    return become


def chosen(requested):
    return [device.uuid for device in choose_devices(requested)]


def refused(requested):
    with pytest.raises(UserError) as caught:
        choose_devices(requested)
    return str(caught.value)


def test_the_fake_driver_speaks_as_the_real_one():
    """Every name of the fake is one of nvidia-ml-py's."""
    names = {
        line.split()[1].split("(")[0].rstrip(":")
        for line in FAKE.read_text().splitlines()
        if line[:4] in ("def ", "clas")
    }
    assert names - {"_cards"} - set(dir(pynvml)) == set()


def test_without_a_driver_the_cpu_scores(machine):
    """`auto` falls back to it; any other request for a GPU is refused, because there is none."""
    assert chosen("auto") == chosen("none") == [None]
    for requested in ("all", "0", "GPU-aaa0"):
        assert "no GPU is visible here" in refused(requested)


def test_a_driver_that_does_not_answer_is_no_silent_cpu(machine):
    """A machine with GPUs must not score for a night on its CPU, unless `--gpus none` asks for it."""
    machine("broken")
    assert "version mismatch" in refused("auto")
    assert chosen("none") == [None]


@pytest.mark.parametrize(
    ("requested", "uuids"),
    [
        ("auto", ["GPU-aaa0", "GPU-aab1", "GPU-ccc2", "GPU-ddd3"]),
        ("all", ["GPU-aaa0", "GPU-aab1", "GPU-ccc2", "GPU-ddd3"]),
        ("none", [None]),
        ("0,2", ["GPU-aaa0", "GPU-ccc2"]),
        (" 3 , 0 ", ["GPU-ddd3", "GPU-aaa0"]),
        ("GPU-ccc2,GPU-aab", ["GPU-ccc2", "GPU-aab1"]),
    ],
)
def test_gpus_are_named_as_nvidia_smi_names_them(machine, requested, uuids):
    """By index or by the beginning of a UUID, in the order in which they are asked for."""
    machine(FOUR)
    assert chosen(requested) == uuids


@pytest.mark.parametrize(
    ("requested", "sentence"),
    [
        ("4", "'4' is not a GPU of this machine; there are 0, 1, 2, 3"),
        ("-1", "'-1' is not a GPU of this machine"),
        ("0,,2", "'' is not a GPU of this machine"),
        ("", "'' is not a GPU of this machine"),
        ("first", "'first' is not a GPU of this machine"),
        ("GPU-aa", "'GPU-aa' is not a GPU of this machine"),
        ("0,0", "'0' is named twice"),
        ("0,GPU-aaa0", "'GPU-aaa0' is named twice"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence(machine, requested, sentence):
    """It repeats the flag and says which part is wrong."""
    machine(FOUR)
    assert refused(requested).startswith(f"--gpus {requested}: {sentence}")


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("", [None]),
        ("-1", [None]),
        ("2,0", ["GPU-aaa0", "GPU-ccc2"]),
        ("GPU-ddd3", ["GPU-ddd3"]),
        ("1,9,2", ["GPU-aab1"]),
    ],
)
def test_a_pin_from_outside_is_respected(machine, visible, uuids):
    """CUDA_VISIBLE_DEVICES of a scheduler or a person bounds what `auto` takes, by CUDA's rules."""
    machine(FOUR, visible)
    assert chosen("auto") == uuids


def test_a_gpu_that_is_hidden_cannot_be_asked_for(machine):
    """Indices stay nvidia-smi's."""
    machine(FOUR, "2,3")
    assert chosen("3") == ["GPU-ddd3"]
    assert "'0' is not a GPU of this machine; there are 2, 3" in refused("0")


def test_a_card_in_mig_mode_is_as_many_devices_as_it_has_parts(machine):
    """Each part is pinned by its own UUID; a card with none has nothing to score on."""
    machine(SLICED)
    assert chosen("all") == ["GPU-aaa0", "MIG-x0", "MIG-y1"]
    assert chosen("1") == ["MIG-x0", "MIG-y1"]
    assert chosen("MIG-y") == ["MIG-y1"]
    assert "'2' is not a GPU of this machine" in refused("2")
    machine(SLICED, "MIG-x0")
    assert chosen("auto") == ["MIG-x0"]


def test_a_lost_card_leaves_the_others(machine, caplog):
    """It is named in the log, and the rest keep their indices."""
    machine("GPU-aaa0,GPU-bbb1!,GPU-ccc2")
    assert chosen("all") == ["GPU-aaa0", "GPU-ccc2"]
    assert chosen("2") == ["GPU-ccc2"]
    assert "GPU 1 cannot be used: GPU is lost" in caplog.text


def test_a_device_hides_every_other_from_its_process(machine):
    """An empty value hides all of them."""
    machine(FOUR)
    (device,) = choose_devices("1")
    assert device.environment == {"CUDA_VISIBLE_DEVICES": "GPU-aab1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    (cpu,) = choose_devices("none")
    assert cpu.environment["CUDA_VISIBLE_DEVICES"] == ""


def test_processes_that_share_a_gpu_share_its_memory(machine):
    """JAX and TensorFlow are both told, and each process has a name of its own; the CPU is never shared."""
    machine(FOUR)
    shared = choose_devices("1,3", per_gpu=2)
    assert [device.uuid for device in shared] == ["GPU-aab1", "GPU-aab1", "GPU-ddd3", "GPU-ddd3"]
    assert [device.name for device in shared[:2]] == ["gpu GPU-aab1 1/2", "gpu GPU-aab1 2/2"]
    assert shared[0].environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-aab1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.400",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    assert [device.uuid for device in choose_devices("none", per_gpu=2)] == [None]
    machine("")
    assert [device.uuid for device in choose_devices("auto", per_gpu=2)] == [None]


@pytest.mark.parametrize(("processes", "threads"), [(None, 16), ("1", 16), ("4", 4), ("16", 2)])
def test_processes_of_one_machine_share_its_cores(monkeypatch, processes, threads):
    """Each decodes on its part of them, on two at least; a set number is obeyed."""
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    if processes is not None:
        monkeypatch.setenv(PROCESSES_VARIABLE, processes)
    assert WorkerSettings().decode_threads == threads
    monkeypatch.setenv("CXR_DECODE_THREADS", "7")
    assert WorkerSettings().decode_threads == 7
