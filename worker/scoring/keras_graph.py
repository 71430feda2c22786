"""Walks the graph of a Keras model backwards, from its output towards its input, through models within the model."""

from dataclasses import dataclass
from typing import Any

from worker.artifacts.keras_import import keras


@dataclass(frozen=True, kw_only=True)
class Place:
    """A tensor that a layer, never a model, has computed."""

    #: Keras' symbolic tensor.
    tensor: Any
    #: The models that it lies in, from the outermost, each with the tensors that it was called on.
    enclosing: tuple[tuple[Any, tuple[Any, ...]], ...] = ()

    @property
    def layer(self) -> Any:
        """The layer, or Keras operation, that computed the tensor; an `InputLayer` for the input of the outermost."""
        return _history(self.tensor).operation

    def before(self) -> "Place":
        """The place of the tensor that the layer computed this one from; of its first, if there are several."""
        return _entered(_arguments(self.tensor)[0], self.enclosing)

    def in_outermost_graph(self) -> Any:
        """The same tensor, computed by new calls of the enclosing models' layers, as one of the outermost graph."""
        tensor = self.tensor
        for model, arguments in reversed(self.enclosing):
            tensor = keras.Model(model.inputs, tensor)(list(arguments))
        return tensor


def output_of(model: Any) -> Place:
    """The place of a model's first output."""
    return _entered(model.outputs[0], ())


def _entered(tensor: Any, enclosing: tuple[tuple[Any, tuple[Any, ...]], ...]) -> Place:
    """The place of a tensor that a layer or a model has computed, or that is the input of an enclosing model."""
    layer = _history(tensor).operation
    if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
        inner = layer.outputs[_history(tensor).tensor_index]
        return _entered(inner, (*enclosing, (layer, _arguments(tensor))))
    if isinstance(layer, keras.layers.InputLayer) and enclosing:
        model, arguments = enclosing[-1]
        layers = [_history(one).operation for one in model.inputs]
        return _entered(arguments[layers.index(layer)], enclosing[:-1])
    return Place(tensor=tensor, enclosing=enclosing)


def _history(tensor: Any) -> Any:
    return tensor._keras_history  # noqa: SLF001 -- Keras has no public way from a nested model's output into it


def _arguments(tensor: Any) -> tuple[Any, ...]:
    """The tensors that the tensor's layer was called on."""
    history = _history(tensor)
    return tuple(history.operation._inbound_nodes[history.node_index].input_tensors)  # noqa: SLF001 -- see above
