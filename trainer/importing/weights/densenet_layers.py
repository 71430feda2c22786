"""The layers of a DenseNet that have weights: PyTorch's name, Keras' name and the shape of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from trainer.network.encoders import DENSENETS

_Kind: TypeAlias = Literal["convolution", "norm"]

#: Of every DenseNet here: channels that a layer adds, between its two convolutions, and behind the first convolution.
_GROWTH: Final = 32
_BOTTLENECK: Final = 128
_INITIAL: Final = 64
#: PyTorch's names of a layer's tensors, in the order of Keras' weights.
_PARTS: Final = {"convolution": ("weight",), "norm": ("weight", "bias", "running_mean", "running_var")}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution or a batch normalization of the encoder."""

    torch: str
    keras: str
    kind: _Kind
    #: PyTorch's of each tensor: OIHW of a convolution, or (channels,).
    shape: tuple[int, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """PyTorch's names of its tensors, in the order of Keras' weights."""
        return tuple(f"{self.torch}.{part}" for part in _PARTS[self.kind])


def layers_of(encoder: str, channels: int) -> tuple[Layer, ...]:
    """The layers of one of `DENSENETS` in their order; its input has this number of channels."""
    return tuple(_layers(DENSENETS[encoder], channels))


def _layers(blocks: tuple[int, ...], channels: int) -> Iterator[Layer]:
    yield _convolution("conv0", "conv1_conv", (_INITIAL, channels, 7, 7))
    yield _norm("norm0", "conv1_bn", _INITIAL)
    width = _INITIAL
    for block, count in enumerate(blocks, 1):
        for layer in range(1, count + 1):
            yield from _dense_layer(f"denseblock{block}.denselayer{layer}", f"conv{block + 1}_block{layer}", width)
            width += _GROWTH
        if block < len(blocks):
            yield _norm(f"transition{block}.norm", f"pool{block + 1}_bn", width)
            yield _convolution(f"transition{block}.conv", f"pool{block + 1}_conv", (width // 2, width, 1, 1))
            width //= 2
    yield _norm("norm5", "bn", width)


def _dense_layer(torch: str, keras: str, width: int) -> Iterator[Layer]:
    yield _norm(f"{torch}.norm1", f"{keras}_0_bn", width)
    yield _convolution(f"{torch}.conv1", f"{keras}_1_conv", (_BOTTLENECK, width, 1, 1))
    yield _norm(f"{torch}.norm2", f"{keras}_1_bn", _BOTTLENECK)
    yield _convolution(f"{torch}.conv2", f"{keras}_2_conv", (_GROWTH, _BOTTLENECK, 3, 3))


def _convolution(torch: str, keras: str, shape: tuple[int, int, int, int]) -> Layer:
    return Layer(torch=f"features.{torch}", keras=keras, kind="convolution", shape=shape)


def _norm(torch: str, keras: str, width: int) -> Layer:
    return Layer(torch=f"features.{torch}", keras=keras, kind="norm", shape=(width,))
