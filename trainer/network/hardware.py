"""The GPUs and the floating-point precision of a fit. Weights are always float32, also the published ones."""

from collections.abc import Iterator
from contextlib import contextmanager

from db.errors import UserError
from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import has_gpu
from worker.scoring.precision import cpu_has_bfloat16


@contextmanager
def dtype_policy(precision: str) -> Iterator[str]:
    """Models that are built within the block compute in this Keras dtype policy; yields its name.

    `auto` stands for the fastest policy that the hardware has.
    """
    previous = keras.config.dtype_policy()
    policy = _fastest_policy() if precision == "auto" else precision
    keras.config.set_dtype_policy(policy)
    try:
        yield policy
    finally:
        keras.config.set_dtype_policy(previous)


@contextmanager
def distribute_over_gpus(*, enabled: bool) -> Iterator[None]:
    """If enabled, divide each batch of a fit within the block among all GPUs, by TensorFlow's or Keras' strategy.

    Raises:
        UserError: there is no GPU.
    """
    if not enabled:
        yield
    elif not has_gpu():
        raise UserError("--all-gpus: this machine shows no GPU; leave the flag out to fit on the CPU")
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy().scope():
            yield
    else:
        with keras.distribution.DataParallel().scope():
            yield


def _fastest_policy() -> str:
    # bfloat16 has float32's range, so the loss needs no scaling. GPUs have had it since 2020, and some CPUs have it.
    return "mixed_bfloat16" if has_gpu() or cpu_has_bfloat16() else "float32"
