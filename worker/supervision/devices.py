"""Finds the devices of this machine, and pins a process to one before it imports anything."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Final

from db.errors import UserError

VISIBLE_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"

#: Fraction of a GPU's memory that its processes share; CUDA itself needs the rest, several hundred MB per process.
SHARED_MEMORY_FRACTION: Final = 0.8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Device:
    """One GPU (or one of its MIG devices), or the CPU where `uuid` is None."""

    uuid: str | None
    #: How many processes share it, and the number of this one, from 1.
    processes: int = 1
    number: int = 1

    @property
    def name(self) -> str:
        """Short, for logs."""
        if self.uuid is None:
            return "cpu"
        return f"gpu {self.uuid[:12]}" + (f" {self.number}/{self.processes}" if self.processes > 1 else "")

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that pin a process: by UUID, which no driver renumbers; an empty value hides every GPU."""
        pinned = {VISIBLE_VARIABLE: self.uuid or "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if self.processes == 1:
            return pinned
        # By default the first process takes three quarters (JAX) or all (TensorFlow) of the GPU's memory.
        share = f"{SHARED_MEMORY_FRACTION / self.processes:.3f}"
        return {"XLA_PYTHON_CLIENT_MEM_FRACTION": share, "TF_FORCE_GPU_ALLOW_GROWTH": "true", **pinned}


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One card.

    Attributes:
        index: its number in nvidia-smi.
        uuid: `GPU-...`
        devices: UUIDs that a process can be pinned to: the card's own, or those of its MIG devices.
    """

    index: int
    uuid: str
    devices: tuple[str, ...]


def choose_devices(requested: str, per_gpu: int = 1) -> list[Device]:
    """The devices that `--gpus` names, of those that `CUDA_VISIBLE_DEVICES` leaves to this process.

    Args:
        requested: `auto` is every GPU, or the CPU where there is none; `all` is every GPU; `none` is the CPU; else
            nvidia-smi's indices or beginnings of UUIDs, separated by commas. A card in MIG mode stands for all its MIG
            devices.
        per_gpu: how many processes share each GPU, which is returned once for each. The CPU is never shared.

    Raises:
        UserError: there is no such GPU, a GPU is named twice, or the driver does not answer.
    """
    if requested == "none":
        return [Device(uuid=None)]
    gpus = visible_gpus(nvml_gpus(), os.environ.get(VISIBLE_VARIABLE))
    found = [uuid for gpu in gpus for uuid in gpu.devices]
    if not found and requested != "auto":
        raise UserError(f"--gpus {requested}: no GPU is visible here; --gpus none scores on the CPU")
    chosen = found if requested in ("auto", "all") else _named_by(requested, gpus)
    numbers = range(1, per_gpu + 1)
    devices = [Device(uuid=uuid, processes=per_gpu, number=number) for uuid in chosen for number in numbers]
    return devices or [Device(uuid=None)]


def visible_gpus(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs that CUDA would show to a process with this `CUDA_VISIBLE_DEVICES`; None shows all."""
    if visible is None:
        return list(gpus)
    shown: set[str] = set()
    for entry in visible.split(","):
        matching = _matching(entry.strip(), gpus)
        if not matching:
            # CUDA's own rule: an unknown entry hides every entry after it.
            break
        shown.update(matching)
    left = [replace(gpu, devices=tuple(uuid for uuid in gpu.devices if uuid in shown)) for gpu in gpus]
    return [gpu for gpu in left if gpu.devices]


def nvml_gpus() -> list[Gpu]:
    """Every GPU that the driver shows to this process; none where there is no driver.

    Raises:
        UserError: there is a driver, but it does not answer.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            return [gpu for index in range(pynvml.nvmlDeviceGetCount()) if (gpu := _gpu(pynvml, index))]
        finally:
            pynvml.nvmlShutdown()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return []
    except pynvml.NVMLError as error:
        raise UserError(f"the NVIDIA driver does not answer ({error}); --gpus none scores on the CPU") from error


def _gpu(nvml: ModuleType, index: int) -> Gpu | None:
    try:
        card = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = nvml.nvmlDeviceGetUUID(card)
        return Gpu(index=index, uuid=uuid, devices=_mig_uuids(nvml, card) if _in_mig_mode(nvml, card) else (uuid,))
    except (nvml.NVMLError_NoPermission, nvml.NVMLError_GpuIsLost) as error:
        # It belongs to another container or is broken: the others can still score.
        logger.warning("GPU %d cannot be used: %s; going on without it", index, error)
        return None


def _in_mig_mode(nvml: ModuleType, card: object) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(card)[0])
    except nvml.NVMLError_NotSupported:
        return False


def _mig_uuids(nvml: ModuleType, card: object) -> tuple[str, ...]:
    found: list[str] = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            found.append(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, number)))
        except nvml.NVMLError_NotFound:
            continue
    return tuple(found)


def _named_by(requested: str, gpus: Sequence[Gpu]) -> list[str]:
    chosen: list[str] = []
    for entry in (part.strip() for part in requested.split(",")):
        matching = _matching(entry, gpus)
        if not matching:
            known = ", ".join(str(gpu.index) for gpu in gpus)
            raise UserError(f"--gpus {requested}: {entry!r} is not a GPU of this machine; there are {known}")
        if not set(chosen).isdisjoint(matching):
            raise UserError(f"--gpus {requested}: {entry!r} is named twice")
        chosen += matching
    return chosen


def _matching(entry: str, gpus: Sequence[Gpu]) -> list[str]:
    """UUIDs of the devices that an entry stands for: an index, or the beginning of one card's or MIG device's UUID."""
    if entry.isdecimal():
        return [uuid for gpu in gpus if gpu.index == int(entry) for uuid in gpu.devices]
    if entry.startswith("GPU-"):
        cards = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
        return list(cards[0].devices) if len(cards) == 1 else []
    parts = [uuid for gpu in gpus for uuid in gpu.devices if entry.startswith("MIG-") and uuid.startswith(entry)]
    return parts if len(parts) == 1 else []
