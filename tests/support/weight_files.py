"""Files of weights for `trainer import`, sound and damaged, and their descriptions. Needs no Keras."""

import json
import struct

import numpy as np
from safetensors.numpy import save_file

from tests.support.torch_reference import TORCHXRAYVISION, published_tensors


def tensors_of(layout=TORCHXRAYVISION):
    """The tensors of a layout that a test may change."""
    return {name: tensor.copy() for name, tensor in published_tensors(layout).items()}


def write_weights(folder, tensors, name="net.safetensors"):
    """Write tensors as a .safetensors file; returns its path."""
    path = folder / name
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)
    return path


def write_description(path, layout=TORCHXRAYVISION, **fields):
    """Write the JSON beside a file of weights; a field that is None is left out."""
    stated = {field: value for field, value in (layout.description | fields).items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(stated))


def raw_safetensors(header, data=b"", *, length=None):
    """The bytes of a .safetensors file with this header, a mapping or bytes, that claims to have this length."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data
