"""Which floating point a fit computes in; weights are float32 always, and so is the published model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import keras

_CPU_INFO: Final = Path("/proc/cpuinfo")


@contextmanager
def computing_in(precision: str) -> Iterator[str]:
    """Within, models that are built compute in this Keras policy, or `auto`: the fastest that the hardware has."""
    before = keras.config.dtype_policy()
    policy = _fastest() if precision == "auto" else precision
    keras.config.set_dtype_policy(policy)
    try:
        yield policy
    finally:
        keras.config.set_dtype_policy(before)


def _fastest() -> str:
    # bfloat16 has float32's range, so no loss needs scaling; GPUs have it since 2020, some CPUs since.
    return "mixed_bfloat16" if _has_gpu() or _cpu_has_bfloat16() else "float32"


def _has_gpu() -> bool:
    return bool(keras.distribution.list_devices("gpu"))


def _cpu_has_bfloat16() -> bool:
    return _CPU_INFO.exists() and "avx512_bf16" in _CPU_INFO.read_text()
