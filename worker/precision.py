"""In which floating point a CPU computes fastest."""

from pathlib import Path
from typing import Final

_CPU_INFO: Final = Path("/proc/cpuinfo")


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself (Linux on x86 tells; elsewhere it counts as no)."""
    return _CPU_INFO.exists() and "avx512_bf16" in _CPU_INFO.read_text()
