"""Computes class activation maps: how much each cell of a model's last feature maps contributes to a finding's logit.

Average pooling and one dense layer are linear, so that a logit is the mean of its map's cells plus the bias. Source:
Zhou et al., Learning deep features for discriminative localization, CVPR 2016. Calibration only changes the dense
layer's weights. Importing this module imports Keras.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import load_keras_model
from worker.artifacts.manifest import Artifact
from worker.images.pixels import Pixels
from worker.scoring.network_head import read_head
from worker.scoring.scorer import check_model_shapes

#: How far a map's mean plus the bias may be from the logit, see `ActivationMaps.errors`. Float32 has 1.2e-7.
TOLERANCE: Final = 1e-5


@dataclass(frozen=True, kw_only=True)
class ActivationMaps:
    """The maps of one scan, and the logits of the same pass."""

    #: F of them, in the model's order.
    findings: tuple[str, ...]
    #: float64 (F, h, w): what each cell contributes to the logit, times the number of cells. Row 0 is the film's top.
    cells: NDArray[np.float64]
    #: float64 (F,): the part of each logit that no cell contributes.
    bias: NDArray[np.float64]
    #: float32 (F,), as the network computes them.
    logits: NDArray[np.float32]
    #: float32 (F,) in [0, 1]: the sigmoids of the logits.
    scores: NDArray[np.float32]

    @property
    def errors(self) -> NDArray[np.float64]:
        """How far each map's mean plus the bias is from the logit, float64 (F,).

        Relative to the logit or to the mean of the cells' absolute values, whichever is larger: a logit near zero is
        the difference of large numbers, and float32 rounds each of these.
        """
        sums = self.cells.mean(axis=(1, 2)) + self.bias
        scale = np.maximum(np.abs(self.logits), np.abs(self.cells).mean(axis=(1, 2)))
        return np.asarray(np.abs(sums - self.logits) / np.maximum(scale, np.finfo(np.float32).tiny), np.float64)

    @property
    def largest_error(self) -> float:
        """The largest of `errors`; NaN if a figure is not finite."""
        return float(self.errors.max())

    @property
    def agrees(self) -> bool:
        """Whether every map adds up to its logit, as far as float32 can tell."""
        return self.largest_error <= TOLERANCE


class ActivationMapper:
    """A loaded network up to its logits that also gives its last feature maps. It computes one scan at a time."""

    def __init__(self, network: Any, findings: tuple[str, ...]) -> None:
        """Prepare a network from uint8 (B, H, W, C) to scores, float32 (B, findings).

        Raises:
            NoActivationMap: its scores do not follow from averaged feature maps by one dense layer.
        """
        head = read_head(network)
        self.findings = findings
        self._shape = tuple(network.input_shape[1:])
        self._kernel = head.kernel.astype(np.float64)
        self._bias = head.bias.astype(np.float64)
        self._forward = _compiled(keras.Model(network.inputs, [head.features, head.logits]))

    def maps(self, pixels: Pixels) -> ActivationMaps:
        """The maps of one scan's pixels, uint8 (H, W, C).

        Raises:
            ValueError: the pixels are not those that the model takes.
        """
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, and the model takes uint8 {self._shape}")
        features, logits = (keras.ops.convert_to_numpy(output)[0] for output in self._forward(pixels[np.newaxis]))
        return ActivationMaps(
            findings=self.findings,
            cells=np.einsum("hwc,cf->fhw", features.astype(np.float64), self._kernel),
            bias=self._bias,
            logits=np.asarray(logits, np.float32),
            scores=keras.ops.convert_to_numpy(keras.ops.sigmoid(logits)),
        )


def load_activation_mapper(artifact: Artifact) -> ActivationMapper:
    """Load an artifact's network for maps. It computes in the precision of its own layers, whatever workers use.

    Raises:
        UserError: the model cannot be loaded, or contradicts its manifest.
        NoActivationMap: its scores do not follow from averaged feature maps by one dense layer.
    """
    network = load_keras_model(artifact)
    check_model_shapes(artifact, tuple(network.input_shape[1:]), network.output_shape[-1])
    return ActivationMapper(network, artifact.manifest.findings)


def _compiled(model: Any) -> Callable[[Pixels], Any]:
    """From uint8 (1, H, W, C) to feature maps and logits."""
    if keras.backend.backend() != "tensorflow":
        return lambda batch: model(batch, training=False)
    import tensorflow as tf

    # Layer by layer, without compiling, a DenseNet121 takes several times as long.
    compiled = tf.function(lambda batch: model(batch, training=False))
    concrete = compiled.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.uint8))
    return lambda batch: concrete(tf.constant(batch))
