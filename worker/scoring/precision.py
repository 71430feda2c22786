"""In which floating point a CPU computes fastest."""

from pathlib import Path
from typing import Final, cast

from db.errors import UserError
from worker.artifacts.exports import Floats

_CPU_INFO: Final = Path("/proc/cpuinfo")


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself (Linux on x86 tells; elsewhere it counts as no)."""
    return _CPU_INFO.exists() and "avx512_bf16" in _CPU_INFO.read_text()


def choose_precision(requested: str, *, has_bfloat16: bool) -> Floats:
    """`float32` or `bfloat16`: what was wished, or the fastest for `auto`.

    Raises:
        UserError: bfloat16 is wished where the device does not compute in it.
    """
    if requested == "auto":
        return "bfloat16" if has_bfloat16 else "float32"
    if requested == "bfloat16" and not has_bfloat16:
        raise UserError("--precision bfloat16: this device does not compute in it with this runtime")
    return cast("Floats", requested)
