"""What a fit runs on: how many GPUs, and in which floating point. Weights are float32 always, published ones too."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from db.errors import UserError
from worker.artifacts.keras_model import has_gpu
from worker.scoring.precision import cpu_has_bfloat16


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


@contextmanager
def on_all_gpus(*, wished: bool) -> Iterator[None]:
    """Within, each batch of a fit is dealt to all GPUs, by TensorFlow's or Keras' own strategy, where that is wished.

    Raises:
        UserError: there is no GPU.
    """
    if not wished:
        yield
    elif not has_gpu():
        raise UserError("--all-gpus: no GPU is visible here")
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy().scope():
            yield
    else:
        with keras.distribution.DataParallel().scope():
            yield


def _fastest() -> str:
    # bfloat16 has float32's range, so no loss needs scaling; GPUs have it since 2020, some CPUs since.
    return "mixed_bfloat16" if has_gpu() or cpu_has_bfloat16() else "float32"
