"""Chooses the floating-point type that a device computes fastest in."""

from pathlib import Path
from typing import Final, cast

from db.errors import UserError
from worker.artifacts.exports import FloatPrecision

_CPU_INFO: Final = Path("/proc/cpuinfo")


def cpu_has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16. Only Linux on x86 tells; elsewhere the answer is no."""
    return _CPU_INFO.exists() and "avx512_bf16" in _CPU_INFO.read_text()


def choose_precision(requested: str, *, has_bfloat16: bool) -> FloatPrecision:
    """The requested type, `float32` or `bfloat16`; for `auto` the faster one of the device.

    Raises:
        UserError: bfloat16 is requested, but the device has no instructions for it.
    """
    if requested == "auto":
        return "bfloat16" if has_bfloat16 else "float32"
    if requested == "bfloat16" and not has_bfloat16:
        raise UserError("--precision bfloat16: this device does not support it; use --precision float32")
    return cast("FloatPrecision", requested)
