"""A published DenseNet's weights, by the names and in the layouts of Keras' own DenseNets, whatever file held them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Weights: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class NetworkWeights:
    """The weights of an encoder and of the dense layer behind its average pooling."""

    #: A name in `trainer.network.encoders.DENSENETS`.
    encoder: str
    #: Of the encoder's input: 1 or 3.
    channels: int
    #: By each of the encoder's layers that has weights, these in Keras' order: the kernel (H, W, in, out) of a
    #: convolution; gamma, beta, moving mean and moving variance of a batch normalization.
    layers: Mapping[str, tuple[Weights, ...]]
    #: Of the dense layer, (features, outputs).
    kernel: Weights
    #: Of the dense layer, (outputs,).
    bias: Weights
    #: Height and width of the input, of a file that states them.
    size: tuple[int, int] | None = None
