"""Records `tests/support/torch_reference.json`: the logits that the publishers' own networks give its random weights.

.venv/torch/bin/python -m tests.torch.record_reference [OUT]
"""

import json
import sys
from pathlib import Path

import torch
import torchvision
import torchxrayvision

from tests.support import torch_reference


def main(out):
    """Write the logits of both layouts as JSON."""
    logits = {name: compute_logits(layout).tolist() for name, layout in torch_reference.LAYOUTS.items()}
    out.write_text(json.dumps(logits, indent=1) + "\n", encoding="utf-8")


def compute_logits(layout):
    """The logits of the generator's images, float32 (2, outputs)."""
    network = build_network(layout)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in torch_reference.plain_tensors(layout).items()}
    network.load_state_dict(tensors)
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(torch_reference.network_input(layout))).numpy()


def build_network(layout):
    """The publisher's own class, as small as the generator's weights."""
    size = {"block_config": torch_reference.BLOCKS, "num_classes": len(layout.outputs)}
    if layout is torch_reference.TORCHXRAYVISION:
        return torchxrayvision.models.DenseNet(**size)
    return torchvision.models.DenseNet(**size)


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else torch_reference.JSON)
