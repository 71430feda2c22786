"""Which devices this machine has, and how a process is pinned to one before any import."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from db.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Device:
    """One GPU, or the CPU where `uuid` is None."""

    uuid: str | None

    @property
    def name(self) -> str:
        """Short, for logs."""
        return f"gpu {self.uuid[:12]}" if self.uuid else "cpu"

    @property
    def environment(self) -> Mapping[str, str]:
        """What pins a child: by UUID, which a driver never renumbers; an empty value hides every GPU."""
        return {"CUDA_VISIBLE_DEVICES": self.uuid or ""}


def choose_devices(wish: str) -> list[Device]:
    """The devices that `--gpus` names: `auto` is all there are, or the CPU; `none` is the CPU; else indices.

    Raises:
        UserError: no such GPU.
    """
    if wish == "none":
        return [Device(uuid=None)]
    found = [Device(uuid=uuid) for uuid in _gpu_uuids()]
    if wish == "auto":
        return found or [Device(uuid=None)]
    if not found:
        raise UserError(f"--gpus {wish}: no GPU is visible here; --gpus none scores on the CPU")
    return found if wish == "all" else [_pick(found, part, wish) for part in wish.split(",")]


def _pick(found: list[Device], part: str, wish: str) -> Device:
    if not part.strip().isdecimal() or int(part) >= len(found):
        raise UserError(f"--gpus {wish}: {part.strip()!r} is no GPU here; there are 0 to {len(found) - 1}")
    return found[int(part)]


def _gpu_uuids() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=uuid", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return [line.strip() for line in answer.stdout.splitlines() if line.startswith("GPU-")]
