# /// script
# requires-python = ">=3.11"
# dependencies = ["safetensors>=0.6", "torch>=2.6", "torchvision>=0.21"]
# ///
"""Writes the weights in a checkpoint of PyTorch to a .safetensors file, for `trainer import`.

uv run docs/weights/from_checkpoint.py checkpoint.pth.tar --out chexnet.safetensors

A checkpoint is a pickle, and opening a pickle can run any code that its maker put there. PyTorch's restricted reader,
which is used here, reads tensors alone. That reader too has run code until PyTorch 2.6 (CVE-2025-32434), and may again,
so open only files from publishers that you trust. A checkpoint that holds a whole network instead of its tensors can
only be opened by running its code: --trust does so, with all that your account may do.
"""

import argparse
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

#: The keys under which training scripts save a network beside their counts of epochs.
KEYS = ("state_dict", "model_state_dict", "model")


def read(path: Path, *, trust: bool) -> Any:
    """What a checkpoint holds."""
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        if trust or not isinstance(error, pickle.UnpicklingError):
            cause = str(error).splitlines()[0] if str(error) else "it is cut off"
            sys.exit(f"{path}: cannot be opened ({cause:.200}); get it again")
        sys.exit(
            f"{path}: can only be opened by running the code in it, which may do all that your account may; give"
            " --trust if you trust its publisher and where you got it from"
        )


def tensors_of(content: Any) -> dict[str, torch.Tensor]:
    """The network's tensors by name, each with memory of its own."""
    if isinstance(content, torch.nn.Module):
        content = content.state_dict()
    for key in KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping | torch.nn.Module):
            return tensors_of(content[key])
    tensors = content.items() if isinstance(content, Mapping) else ()
    return {name: tensor.contiguous().clone() for name, tensor in tensors if isinstance(tensor, torch.Tensor)}


def main() -> None:
    """Write the file of --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--trust", action="store_true", help="open the file by running the code in it")
    given = parser.parse_args()
    tensors = tensors_of(read(given.checkpoint, trust=given.trust))
    if not tensors:
        sys.exit(f"{given.checkpoint}: holds no tensors under {', '.join(KEYS)}; choose another file")
    save_file(tensors, given.out)
    print(f"{given.out}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
